// Card mode: one picture, its questions. A verdict moves on at once; delivery follows behind.

import { newId } from "../delivery/tab.js";
import { freeKeyboard } from "../keys.js";
import { Picture, sized } from "../queue/picture.js";
import { SHARP, STEP } from "./lens.js";
import { CardQueue } from "./queue.js";
import { CardView } from "./view.js";

const KEEP_PICTURES = 10; // of decided cards, for a quick undo

export class CardMode {
  #shell;
  #queue;
  #view;
  #focus = 0; // which chip is asked
  #shownAt = 0;
  #timed = null; // the card whose picture is on screen since #shownAt
  #card = null; // the current one when it was drawn last
  #left = []; // cards that were gone from, oldest first
  #settling = null; // the card whose flag is settled when it is asked for once more
  #sharp = null; // { card, picture }: the current picture in more detail

  constructor(shell) {
    this.#shell = shell;
    this.#queue = new CardQueue(shell.api, shell.outbox);
    this.#queue.heat = shell.session.heat;
    this.#queue.onChange = () => this.#draw();
    this.#queue.onLost = (card) => shell.notice(`${card.category}: shown to somebody else by now.`);
    this.#view = new CardView(shell.mount, shell.template("cardTemplate"), (at) => this.#focusOn(at));
    this.#view.lens.onChange = () => this.#looksCloser();
  }

  open(query, data) {
    this.#view.scoreWord = data.score_word;
    this.#queue.prefetch = data.prefetch;
    const parameters = new URLSearchParams(query);
    parameters.set("siblings", "1");
    if (this.#queue.open(parameters.toString())) freeKeyboard();
    this.#draw();
  }

  close() {
    this.#queue.close();
    this.#left.forEach((card) => this.#queue.drop(card));
    this.#view.close();
  }

  renewed() {
    this.#queue.fill();
  }

  // Verdicts of a closed tab have turned up: their questions need no second answer.
  adopted(proposals) {
    this.#queue.remove(proposals);
    this.#draw();
  }

  again() {
    if (this.#queue.problem) this.#queue.retry();
    else this.#queue.restart();
    this.#draw();
  }

  get left() {
    return this.#queue.left;
  }

  act(action, event) {
    const actions = {
      accept: () => this.#decide("present"),
      reject: () => this.#decide("absent"),
      skip: () => this.#decide("skip"),
      next: () => this.#next(),
      digit: () => this.#toggle(Number(event.key) - 1),
      move: () => this.#move(["ArrowLeft", "ArrowUp"].includes(event.key) ? -1 : 1),
      undo: () => this.#undo(),
      redo: () => this.#redo(),
      add: () => this.#add(),
      others: () => this.#others(),
      flag: () => this.#flag(),
      heat: () => this.#toggleHeat(),
      boxes: () => this.#toggleBoxes(),
      zoom: () => this.#zoom(() => this.#view.lens.toggle()),
      closer: () => this.#zoom(() => this.#view.lens.by(STEP)),
      farther: () => this.#zoom(() => this.#view.lens.by(1 / STEP)),
      escape: () => this.#zoom(() => this.#view.lens.reset()),
    };
    return actions[action] ? actions[action]() !== false : false;
  }

  get #chip() {
    return this.#queue.current?.chips[this.#focus] ?? null;
  }

  // Whether a verdict may be given: nobody judges a picture that is not on the screen.
  #mayJudge() {
    const { current: card } = this.#queue;
    if (!card) return false;
    if (card.picture.state === "ready") return true;
    this.#shell.notice("Wait for the picture, or skip it.");
    return false;
  }

  get #seconds() {
    const seconds = this.#timed === this.#queue.current ? (performance.now() - this.#shownAt) / 1000 : 0;
    this.#shownAt = performance.now(); // the next verdict on this picture takes its own time
    return Math.round(seconds * 1000) / 1000;
  }

  // Verdicts

  #decide(verdict) {
    const { current: card } = this.#queue;
    const chip = this.#chip;
    if (!chip || (verdict !== "skip" && !this.#mayJudge())) return;
    if (chip.verdict) this.#takeBack(card, chip);
    this.#answer(card, chip, verdict);
    this.#goOn();
  }

  #answer(card, chip, verdict) {
    const operation = {
      kind: "decide",
      client_id: newId(),
      proposal_id: chip.proposal_id,
      image_id: card.image_id,
      category_id: chip.category_id,
      verdict,
      seconds: this.#seconds,
      label: chip.category,
      accepted: verdict === chip.state,
    };
    this.#mark(chip, verdict, operation.client_id);
    this.#shell.session.gave({ id: operation.client_id, label: chip.category, verdict, card, chips: [chip] });
    this.#send(operation);
  }

  // Delivery follows after the picture has changed.
  #send(operation) {
    queueMicrotask(() => this.#shell.outbox.add(operation));
  }

  #mark(chip, verdict, id) {
    chip.verdict = verdict;
    chip.decision = id;
    this.#queue.answered(chip, Boolean(verdict));
  }

  // Another verdict on the same question: the first one is undone.
  #takeBack(card, chip) {
    const { session } = this.#shell;
    const id = chip.decision;
    session.undone = [];
    session.history = session.history.filter((entry) => entry.id !== id);
    this.#mark(chip, "", null);
    this.#send({ kind: "undo", client_id: newId(), undoes: id, label: chip.category });
  }

  #goOn() {
    const { current: card } = this.#queue;
    const order = [...card.chips.slice(this.#focus + 1), ...card.chips.slice(0, this.#focus)];
    const open = order.find((chip) => !chip.verdict);
    if (!open) return this.#next();
    this.#focus = card.chips.indexOf(open);
    this.#draw();
  }

  #next() {
    if (!this.#queue.current) return;
    this.#keep(this.#queue.take());
    this.#draw();
    this.#queue.fill();
  }

  // Pictures of the last cards stay decoded, those of older ones are let go.
  #keep(card) {
    this.#left = [...this.#left.filter((other) => other !== card), card];
    if (this.#left.length > KEEP_PICTURES) this.#queue.drop(this.#left.shift());
  }

  // Undecided, there, not there, undecided …; the focus goes there, the picture stays.
  #toggle(at) {
    const { current: card } = this.#queue;
    const chip = card?.chips[at];
    if (!chip || !this.#mayJudge()) return;
    this.#focus = at;
    const follows = { "": "present", present: "absent", absent: "", skip: "present" }[chip.verdict];
    if (chip.verdict) this.#takeBack(card, chip);
    if (follows) this.#answer(card, chip, follows);
    this.#draw();
  }

  #focusOn(at) {
    this.#focus = at;
    this.#draw();
  }

  #move(step) {
    const { current: card } = this.#queue;
    if (!card || card.chips.length < 2) return false;
    this.#focusOn((this.#focus + step + card.chips.length) % card.chips.length);
    return true;
  }

  // Undo and redo

  #undo() {
    const { session } = this.#shell;
    const entry = session.history.at(-1);
    if (!entry?.card) return false; // of another page, or mode: the shell knows
    session.history.pop();
    session.undone.push(entry);
    for (const chip of entry.chips) this.#mark(chip, "", null);
    entry.card.added = entry.card.added.filter((label) => label.decision !== entry.id);
    this.#show(entry.card, entry.chips[0]);
    const [{ proposal_id: shows = null } = {}] = entry.chips;
    this.#send({ kind: "undo", client_id: newId(), undoes: entry.id, label: entry.label, shows });
    return true;
  }

  #redo() {
    const { session } = this.#shell;
    const entry = session.undone.at(-1);
    if (!entry?.card) return false;
    session.undone.pop();
    const redoes = entry.id;
    entry.id = newId();
    session.history.push(entry);
    for (const chip of entry.chips) this.#mark(chip, entry.verdict, entry.id);
    if (entry.added) entry.card.added.push({ ...entry.added, decision: entry.id });
    this.#send({ kind: "redo", client_id: entry.id, redoes, label: entry.label });
    this.#show(entry.card, entry.chips[0]);
    if (entry.card.chips.every((chip) => chip.verdict)) this.#next();
    return true;
  }

  #show(card, chip) {
    if (card !== this.#queue.current) this.#queue.putBack(card);
    this.#left = this.#left.filter((other) => other !== card);
    if (card !== this.#card) this.#letGoSharp();
    this.#card = card;
    this.#focus = Math.max(0, card.chips.indexOf(chip));
    this.#draw();
  }

  // Labels beyond the proposals

  async #add() {
    const { current: card } = this.#queue;
    if (!card || !this.#mayJudge()) return;
    let categories;
    try {
      categories = await this.#shell.session.categories();
    } catch (error) {
      this.#shell.notice(`The categories could not be fetched. ${error.message}`);
      return;
    }
    if (card !== this.#queue.current) return;
    const known = [...card.known, ...card.added].map(({ category_id: id, state }) => [id, state]);
    const decided = card.chips.filter((chip) => chip.verdict).map((chip) => [chip.category_id, chip.verdict]);
    this.#shell.pick(categories, new Map([...known, ...decided]), (category, verdict) => this.#added(card, category, verdict));
  }

  #added(card, category, verdict) {
    const chip = card.chips.find((one) => one.category_id === category.id);
    if (chip) {
      if (chip.verdict) this.#takeBack(card, chip);
      this.#answer(card, chip, verdict);
      this.#draw();
      return;
    }
    const id = newId();
    const label = { category_id: category.id, category: category.name, state: verdict, source: "you" };
    card.added = [...card.added.filter((one) => one.category_id !== category.id), { ...label, decision: id }];
    this.#shell.session.gave({ id, label: category.name, verdict, card, chips: [], added: label });
    this.#send({
      kind: "decide",
      client_id: id,
      proposal_id: null,
      image_id: card.image_id,
      category_id: category.id,
      verdict,
      seconds: this.#seconds,
      label: category.name,
    });
    this.#draw();
  }

  #others() {
    const { current: card } = this.#queue;
    if (!card || !this.#mayJudge()) return;
    const id = newId();
    const chips = card.chips.filter((chip) => !chip.verdict);
    for (const chip of chips) this.#mark(chip, "absent", id);
    const label = "all others";
    this.#shell.session.gave({ id, label, verdict: "absent", card, chips });
    this.#send({ kind: "absent", client_id: id, image_id: card.image_id, seconds: this.#seconds, label });
    this.#shell.notice(`Everything else is absent in ${card.file_name}. Undo takes it back as one.`);
    this.#next();
  }

  #flag() {
    const { current: card } = this.#queue;
    if (!card) return;
    const about = { client_id: newId(), image_id: card.image_id, label: card.file_name };
    if (card.flag && this.#settling !== card) {
      this.#settling = card;
      this.#shell.notice(`Flagged: ${card.flag.comment || "no comment"}. Once more settles the flag.`);
      return;
    }
    this.#settling = null;
    if (card.flag) {
      card.flag = null;
      this.#send({ kind: "unflag", ...about });
      this.#shell.notice("The flag is settled.");
      this.#draw();
      return;
    }
    const chip = this.#chip;
    this.#shell.askFlag((comment) => {
      card.flag = { comment, annotator: this.#shell.data.annotator };
      this.#send({ kind: "flag", ...about, category_id: chip?.category_id ?? null, comment });
      this.#draw();
    });
  }

  // Looking

  #toggleHeat() {
    const { session } = this.#shell;
    session.heat = this.#queue.heat = !session.heat;
    this.#queue.load();
    this.#draw();
  }

  #toggleBoxes() {
    this.#shell.session.boxes = !this.#shell.session.boxes;
    this.#draw();
  }

  async #fetchBoxes(card) {
    card.boxes = {};
    try {
      card.boxes = await this.#shell.api.get(`/api/boxes/${card.image_id}`);
    } catch (error) {
      this.#shell.notice(`The boxes could not be fetched. ${error.message}`);
      card.boxes = null;
      this.#shell.session.boxes = false;
    }
    if (card === this.#queue.current) this.#draw();
  }

  #zoom(change) {
    if (!this.#queue.current) return false;
    change();
    return true;
  }

  // Zoomed in, the picture is loaded in more detail where the file has it.
  #looksCloser() {
    const { current: card } = this.#queue;
    if (!card || card.picture.state !== "ready") return;
    if (this.#view.lens.zoomed && this.#sharp?.card !== card) {
      this.#letGoSharp();
      const picture = new Picture(this.#shell.api, sized(card.image_url, SHARP));
      this.#sharp = { card, picture };
      picture.onSettled = () => this.#draw();
      picture.start();
    }
    this.#draw();
  }

  #letGoSharp() {
    this.#sharp?.picture.drop();
    this.#sharp = null;
  }

  // Drawing

  #draw() {
    const { current: card, problem, exhausted } = this.#queue;
    if (card !== this.#card) {
      this.#card = card;
      this.#focus = Math.max(0, card?.chips.findIndex((chip) => !chip.verdict) ?? 0);
      this.#letGoSharp();
    }
    if (card) this.#drawCard(card);
    else if (problem && problem.kind !== "expired") this.#shell.problem(problem);
    else if (exhausted) this.#shell.end();
    else this.#shell.loading();
    if (card !== this.#timed && (!card || card.picture.state === "ready")) {
      this.#timed = card;
      this.#shownAt = performance.now();
    }
    this.#shell.drawFigures();
  }

  #drawCard(card) {
    this.#focus = Math.min(this.#focus, card.chips.length - 1);
    this.#shell.show();
    const { heat, boxes } = this.#shell.session;
    if (boxes && card.boxes === undefined) this.#fetchBoxes(card);
    const sharp = this.#sharp?.card === card && this.#sharp.picture.state === "ready";
    this.#view.card(card, card.chips[this.#focus], {
      heat,
      boxes: boxes ? (card.boxes ?? {}) : null,
      picture: sharp ? this.#sharp.picture.element : null,
    });
  }

  // What the server says of an operation.
  answered(operation, { status, card }) {
    const gone = status === "stale" || status === "refused";
    if (operation.kind === "decide" && gone) this.#notStored(operation);
    if (operation.kind === "undo") this.#undone(operation, gone, card);
    this.#draw();
  }

  // A verdict that somebody else's had overtaken: its mark goes, and so does its question.
  #notStored({ client_id: id, proposal_id: proposal }) {
    for (const card of [...this.#queue.items, ...this.#left]) {
      for (const chip of card.chips.filter(({ decision }) => decision === id)) {
        chip.verdict = "";
        chip.decision = null;
      }
      card.added = card.added.filter(({ decision }) => decision !== id);
    }
    this.#queue.remove(new Set([proposal]));
  }

  // A question that was asked before this page was opened; the queue may hold it already.
  #bring(raw) {
    const card = this.#queue.find(raw.proposal_id) ?? this.#queue.hold(raw);
    this.#show(card, card.chips.find((chip) => chip.proposal_id === raw.proposal_id));
  }

  #undone({ shows, brings }, gone, card) {
    if (gone && shows) this.#queue.remove(new Set([shows]));
    else if (card && brings) this.#bring(card);
  }
}
