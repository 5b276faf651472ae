// Grid: one category, many pictures. Each shows what will be stored of it: what somebody said of
// it, else what is said of the rest.

import { newId } from "../delivery/tab.js";
import { freeKeyboard } from "../keys.js";
import { opposite, plural, SAID, SIGNS } from "../words.js";
import { GridFeed, PAGE } from "./cells.js";
import { GridMarks } from "./marks.js";
import { counts, remaining, storing, tally } from "./tally.js";
import { GridView } from "./view.js";

const LIMIT = 100; // of the route: what one batch may hold
const LEAST_LOOK = 400; // milliseconds; a page shown for less was not looked at
const KEEP = 3; // pages behind the current one whose pictures stay loaded, for a quick undo

export class GridMode {
  #shell;
  #session;
  #feed;
  #view;
  #rest = "present"; // what is said of the pictures without a mark
  #shown = []; // cells of the page
  #at = 0; // the current one
  #through = false; // a key judged the page's last picture: none is to be judged twice by it
  #marks = new GridMarks();
  #applied = []; // the session's entries whose pages can be shown again, oldest first
  #own = new Set(); // undos and redos of these
  #shownAt = 0;

  constructor(shell) {
    this.#shell = shell;
    this.#session = shell.session; // the shell may have another one when this mode is closed
    this.#feed = new GridFeed(shell.api, shell.outbox);
    this.#feed.onChange = () => this.#draw();
    this.#feed.onSettled = (cell) => this.#settled(cell);
    this.#view = new GridView(shell.mount, shell.template("gridTemplate"), shell.api, {
      rest: (state) => this.#setRest(state),
      turn: (cell, event) => this.#clicked(cell, event),
      say: (cell, mark) => this.#mark(cell, mark),
      move: (step) => this.#move(this.#at + step, false),
      close: () => this.#closeLarge(true),
      peek: (cell) => this.#view.large.peek(cell, this.#view.words(cell), this.#view.place(cell)),
      unpeek: () => this.#unpeek(),
      open: (cell) => this.#openLarge(cell),
    });
    this.#marks.onMark = (cell) => this.#drawMark(cell);
    this.#view.onSeen = () => this.#see();
    this.#view.onResize = () => this.#resized();
  }

  open(query, data) {
    this.#view.scoreWord = data.score_word;
    if (query === this.#feed.query) return this.#draw();
    this.#rest = null;
    freeKeyboard();
    this.#forget();
    this.#feed.open(query);
    this.#draw();
  }

  close() {
    this.#forget();
    this.#feed.close();
    this.#view.close();
  }

  renewed() {
    this.#feed.fill();
  }

  // Verdicts of a closed tab have turned up: their pictures need no second answer.
  adopted(proposals) {
    this.#feed.remove(proposals);
    this.#draw();
  }

  again() {
    if (!this.#feed.problem) return this.#restart();
    this.#feed.retry();
    this.#draw();
  }

  get left() {
    return this.#feed.left;
  }

  act(action, event) {
    const actions = {
      accept: () => this.#say("present"),
      reject: () => this.#say("absent"),
      skip: () => this.#say("skip"),
      next: () => this.#apply(),
      default: () => this.#setRest(opposite(this.#rest)),
      all: () => this.#markAll(),
      zoom: () => this.#toggleLarge(),
      escape: () => this.#escape(),
      move: () => this.#step(event),
      undo: () => this.#undo(),
      redo: () => this.#redo(),
    };
    const needsPage = !["undo", "redo"].includes(action);
    if (!actions[action] || (needsPage && !this.#shown.length)) return false;
    return actions[action]() !== false;
  }

  // What the server says of an operation; of a batch's single pictures the shell tells enough.
  answered({ kind, client_id: id, undoes }, { status }) {
    const gone = status === "stale" || status === "refused";
    if (kind === "batch" && gone) this.#applied = this.#applied.filter((entry) => entry.id !== id);
    if (kind !== "undo" && kind !== "redo") return;
    const entry = this.#session.undone.find((one) => one.id === undoes && one.page);
    if (gone && entry) this.adopted(new Set(entry.page.settled.map((cell) => cell.id)));
    // Something else came back or went: what is shown is out of date, unless somebody works on it.
    else if (!gone && !this.#own.has(id) && !this.#marks.any) this.#restart();
  }

  // The queue from its front; earlier pages belong to what was shown before.
  #restart() {
    this.#forget();
    this.#feed.restart();
    this.#draw();
  }

  #forget() {
    const isReal = (entry) => entry.page?.stored !== false;
    for (const { page } of this.#applied) page.cells.forEach((cell) => cell.drop());
    this.#applied = [];
    this.#session.history = this.#session.history.filter(isReal);
    this.#session.undone = this.#session.undone.filter(isReal);
    for (const entry of [...this.#session.history, ...this.#session.undone]) delete entry.page;
  }

  get #current() {
    return this.#shown[this.#at] ?? null;
  }

  // Drawing

  #draw() {
    const page = this.#feed.page;
    if (!page.length) this.#cover();
    else this.#shell.show();
    this.#show(page);
  }

  #cover() {
    const { problem, exhausted } = this.#feed;
    if (problem && problem.kind !== "expired") this.#shell.problem(problem);
    else if (exhausted) this.#shell.end();
    else this.#shell.loading();
  }

  #show(page) {
    const grown = this.#shown.length > 0 && this.#shown.every((cell, at) => cell === page[at]);
    this.#shown = page;
    if (grown) this.#marks.grow(page);
    else this.#turned();
    if (page.length) {
      this.#rest ??= this.#usual(page);
      this.#view.question(page[0].card.category, this.#rest);
    }
    this.#view.page(page);
    this.#view.current(this.#current);
    if (!grown && this.#current && this.#view.isFocusFree) this.#view.focus(this.#current, true);
    this.#summarize();
    this.#shell.drawFigures();
    if (!grown) this.#resized();
  }

  // Another page: what belonged to the earlier one is over.
  #turned() {
    this.#at = 0;
    this.#through = false;
    this.#marks.open(this.#shown);
    this.#shownAt = performance.now();
    this.#closeLarge(false);
    this.#view.scroll = 0;
  }

  // What most of the first page's proposals say; it holds until somebody changes it.
  #usual(page) {
    const present = page.filter(({ card }) => card.state === "present").length;
    return 2 * present >= page.length ? "present" : "absent";
  }

  // Larger pictures are loaded in more detail; where more fit, the page grows.
  #resized() {
    const { thumb, capacity } = this.#view;
    const size = Math.min(LIMIT, capacity);
    if (thumb === this.#feed.thumb && size <= this.#feed.size) return;
    this.#feed.thumb = thumb;
    this.#feed.size = Math.max(size, this.#feed.size);
    this.#feed.fill();
    this.#draw();
  }

  #settled(cell) {
    if (!this.#shown.includes(cell)) return;
    this.#view.picture(cell);
    this.#view.mark(cell);
    this.#see();
  }

  #see() {
    for (const cell of this.#shown) cell.seen ||= cell.visible && cell.picture.state === "ready";
    this.#summarize();
  }

  #summarize() {
    const count = counts(tally(this.#shown, this.#rest));
    this.#view.summary({
      button: storing(count, this.#shown.length),
      note: remaining(count),
      left: this.#feed.left,
      enabled: count.loading + count.unseen < this.#shown.length,
    });
  }

  // Marks

  #drawMark(cell) {
    this.#view.mark(cell);
    if (this.#view.large.cell === cell) this.#view.large.words(this.#view.words(cell));
  }

  // A key says it of the current picture and goes on to the next one.
  #say(mark) {
    if (this.#through && this.#at === this.#shown.length - 1) {
      return this.#shell.notice("That was the last picture here. Store the page to go on.");
    }
    const cell = this.#current;
    if (mark !== "skip" && cell.picture.state !== "ready") return this.#shell.notice("Wait for the picture, or leave it undecided.");
    const isLast = this.#at === this.#shown.length - 1;
    this.#mark(cell, mark);
    if (!isLast) this.#goTo(this.#at + 1, true);
    this.#through = isLast;
  }

  #mark(cell, mark) {
    this.#marks.say(cell, mark);
    this.#goTo(this.#shown.indexOf(cell), true);
    this.#summarize();
  }

  // A click turns what the picture shows over, and back.
  #clicked(cell, { shiftKey }) {
    this.#unpeek();
    const at = this.#shown.indexOf(cell);
    if (shiftKey) return this.#extend(at, false);
    const differs = cell.mark === "skip" || cell.mark === opposite(this.#rest);
    this.#marks.say(cell, differs ? "" : opposite(this.#rest));
    this.#goTo(at, false);
    this.#summarize();
  }

  #extend(at, scroll) {
    this.#marks.extend(this.#at, at, opposite(this.#rest));
    this.#goTo(at, scroll);
    this.#summarize();
  }

  #markAll() {
    this.#marks.all(opposite(this.#rest));
    this.#summarize();
  }

  // Escape closes the large view; else it clears the marks, and brings them back.
  #escape() {
    if (this.#view.large.open) return this.#closeLarge(true);
    const count = this.#marks.clear();
    if (count) this.#shell.notice(`${plural(count, "mark")} cleared. Escape brings ${count === 1 ? "it" : "them"} back.`);
    this.#summarize();
  }

  #setRest(state) {
    this.#rest = state;
    this.#view.question(this.#shown[0]?.card.category ?? "", state);
    for (const cell of this.#shown) this.#drawMark(cell);
    this.#view.speak(`The rest: ${SAID[state]}.`);
    this.#summarize();
  }

  // Moving

  #step({ key, shiftKey }) {
    const { columns } = this.#view;
    const last = this.#shown.length - 1;
    const below = Math.floor(last / columns) > Math.floor(this.#at / columns);
    const to = {
      ArrowLeft: this.#at - 1,
      ArrowRight: this.#at + 1,
      ArrowUp: this.#at - columns,
      ArrowDown: below ? Math.min(last, this.#at + columns) : this.#at,
      Home: 0,
      End: last,
    }[key];
    this.#move(to, shiftKey);
  }

  #move(to, range) {
    if (to < 0 || to >= this.#shown.length) return;
    if (range) return this.#extend(to, true);
    this.#marks.settle();
    this.#goTo(to, true);
  }

  #goTo(at, scroll) {
    this.#at = at;
    this.#through = false;
    this.#view.current(this.#current);
    this.#view.focus(this.#current, scroll);
    if (this.#view.large.open) this.#openLarge(this.#current);
  }

  // Large view

  #toggleLarge() {
    if (this.#view.large.open) this.#closeLarge(true);
    else this.#openLarge(this.#current);
  }

  #openLarge(cell) {
    this.#at = this.#shown.indexOf(cell);
    this.#view.current(cell);
    this.#view.focus(cell, true);
    const neighbours = [this.#shown[this.#at + 1], this.#shown[this.#at - 1]].filter(Boolean);
    this.#view.large.show(cell, this.#view.words(cell), neighbours);
  }

  #unpeek() {
    if (!this.#view.large.open) this.#view.large.close();
  }

  #closeLarge(focus) {
    this.#view.large.close();
    if (focus) this.#view.focus(this.#current, true);
  }

  // Applying

  #apply() {
    const { present, absent, skip, broken, gone } = tally(this.#shown, this.#rest);
    const settled = [...present, ...absent, ...skip, ...broken, ...gone];
    if (!settled.length || performance.now() - this.#shownAt < LEAST_LOOK) return;
    const decided = this.#shown.filter((cell) => present.includes(cell) || absent.includes(cell));
    const operation = this.#operation(decided);
    const said = Object.entries({ present, absent }).filter(([, cells]) => cells.length);
    const entry = {
      id: operation.client_id,
      label: decided.length ? `${operation.label}, ${plural(decided.length, "picture")}` : "a page passed by",
      verdict: said.map(([state, cells]) => `${cells.length} ${SIGNS[state]} ${state}`).join(", ") || "undecided",
      page: { ...this.#snapshot(), settled, stored: decided.length > 0 },
    };
    this.#session.gave(entry);
    this.#turn(entry);
    if (decided.length) this.#send(operation);
    this.#view.speak(`Stored ${present.length} present, ${absent.length} absent.`);
  }

  #snapshot() {
    const marks = this.#marks.list;
    return { cells: this.#shown, marks, rest: this.#rest, at: this.#at, scroll: this.#view.scroll };
  }

  #operation(cells) {
    const seconds = (performance.now() - this.#shownAt) / 1000 / Math.max(1, cells.length);
    const decisions = cells.map(({ card, mark }) => ({
      client_id: newId(),
      proposal_id: card.proposal_id,
      image_id: card.image_id,
      category_id: card.category_id,
      verdict: mark || this.#rest,
      seconds: Math.round(seconds * 1000) / 1000,
    }));
    const accepted = cells.filter(({ card }, at) => decisions[at].verdict === card.state).length;
    return { kind: "batch", client_id: newId(), decisions, label: this.#shown[0].card.category, accepted };
  }

  // Delivery follows after the page has changed.
  #send(operation) {
    if (operation.kind !== "batch") this.#own.add(operation.client_id);
    queueMicrotask(() => this.#shell.outbox.add(operation));
  }

  // The page goes, the next one is here.
  #turn(entry) {
    this.#applied.push(entry);
    this.#applied.at(-1 - KEEP)?.page.settled.forEach((cell) => cell.drop());
    const size = Math.min(LIMIT, Math.max(PAGE, this.#view.capacity));
    this.#feed.settle(entry.page.settled, size);
    this.#draw();
  }

  // Only what was applied in this queue comes back to the screen; the shell knows the others.
  #undo() {
    const entry = this.#session.history.at(-1);
    if (!entry || this.#applied.at(-1) !== entry) return false;
    this.#applied.pop();
    this.#session.undone.push(this.#session.history.pop());
    this.#restore(entry.page);
    const { id: undoes, label } = entry;
    if (entry.page.stored) this.#send({ kind: "undo", client_id: newId(), undoes, label });
    return true;
  }

  #restore({ cells, marks, rest, at, scroll }) {
    cells.forEach((cell, index) => {
      cell.mark = marks[index];
    });
    this.#feed.restore(cells);
    this.#rest = rest;
    this.#draw();
    this.#at = at;
    this.#view.current(this.#current);
    if (this.#view.isFocusFree) this.#view.focus(this.#current, false);
    this.#view.scroll = scroll;
  }

  #redo() {
    const entry = this.#session.undone.at(-1);
    if (!entry?.page || entry.page.cells.some((cell, at) => cell !== this.#shown[at])) return false;
    this.#session.history.push(this.#session.undone.pop());
    const { id: redoes, label } = entry;
    entry.id = newId();
    this.#turn(entry);
    if (entry.page.stored) this.#send({ kind: "redo", client_id: entry.id, redoes, label });
    return true;
  }
}
