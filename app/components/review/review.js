// Review: the controller. A verdict moves on at once; delivery follows behind.

const KEEP_PICTURES = 10; // of decided cards, for a quick undo
const RATE_OVER = 60; // verdicts
const RATE_FROM = 5;
const LONGEST_THOUGHT = 30; // seconds; longer is a pause, not judging

// What outlives the mounted component: one annotator's work on one dataset in this tab.
class Session {
  static #open = new Map();
  api = new Api();
  heat = false; // whether heat maps are shown
  history = []; // decisions that can be undone, oldest first
  refused = [];
  onAnswer = () => {};

  constructor(scope) {
    this.outbox = new Outbox(scope, this.api, (operation, answer) => this.#answered(operation, answer));
  }

  static of({ dataset_id: dataset, annotator }) {
    const scope = `${dataset}:${encodeURIComponent(annotator)}`;
    if (!Session.#open.has(scope)) Session.#open.set(scope, new Session(scope));
    return Session.#open.get(scope);
  }

  remember(entry) {
    this.history.push(entry);
    const old = this.history.at(-1 - KEEP_PICTURES);
    old?.card.picture.drop();
    old?.card.heatmap?.drop();
  }

  #answered(operation, answer) {
    if (answer.status === "stale" || answer.status === "refused") {
      this.history = this.history.filter((entry) => entry.id !== operation.client_id);
    }
    if (answer.status === "refused") {
      const what = operation.undoes ? "Undo" : operation.verdict;
      const which = operation.label ? `${operation.label}: ` : "";
      this.refused.push(`${which}${what}: ${answer.message || "no reason given"}`);
    }
    this.onAnswer(operation, answer);
  }

  get verdicts() {
    return this.history.reduce((count, entry) => count + (entry.verdict === "skip" ? 0 : 1), 0);
  }

  get skips() {
    return this.history.length - this.verdicts;
  }

  // Verdicts per minute of judging, pauses left out.
  get rate() {
    const recent = this.history.slice(-RATE_OVER);
    if (recent.length < RATE_FROM) return null;
    const spent = recent.reduce((sum, entry) => sum + Math.min(entry.seconds, LONGEST_THOUGHT), 0);
    return Math.round((60 * recent.length) / Math.max(spent, 0.001));
  }
}

const TEXT_INPUTS = "input:not([type=radio],[type=checkbox],[type=button],[type=submit],[type=range],[type=color],[type=file],[type=reset],[type=image])";
const TYPING = `${TEXT_INPUTS},textarea,select,[role=textbox],[role=combobox],[role=searchbox],[role=spinbutton],[role=listbox],[role=menu]`;
const PRESSED_BY_SPACE = "button,summary,input:not([type=radio]:checked),[role=button],[role=checkbox],[role=switch],[role=tab],[role=option]";
const CHOOSING = "[role=combobox],[role=radio],input[type=radio],select";
// A closed dialog keeps the focus until the next frame; only an open one takes the keys.
const DIALOG = "dialog[open],[role=dialog]:not(dialog),[role=alertdialog]:not(dialog)";

// The keyboard of the whole page, left alone wherever somebody writes or a dialog is open.
class Keys {
  #act;
  #isHelpOpen;
  #listener = (event) => this.#pressed(event);

  constructor(act, isHelpOpen) {
    this.#act = act;
    this.#isHelpOpen = isHelpOpen;
    document.addEventListener("keydown", this.#listener);
  }

  close() {
    document.removeEventListener("keydown", this.#listener);
  }

  #pressed(event) {
    if (event.defaultPrevented || event.isComposing) return;
    const action = this.#action(event);
    if (!action || !this.#isOurs(event)) return;
    event.preventDefault();
    if (!event.repeat) this.#act(action);
  }

  #action(event) {
    const letter = this.#letter(event);
    if (event.altKey) return null;
    if (event.ctrlKey || event.metaKey) return letter === "z" && !event.shiftKey ? "undo" : null;
    const actions = { a: "accept", x: "reject", " ": "skip", Backspace: "undo", m: "heat", h: "help", "?": "help" };
    return actions[letter] ?? null;
  }

  // The Latin letter of the key also under Greek, Cyrillic … keyboard layouts.
  #letter({ key, code }) {
    if (key.length > 1) return key;
    if (key.charCodeAt(0) > 127 && code.startsWith("Key")) return code.slice(3).toLowerCase();
    return key.toLowerCase();
  }

  #isOurs(event) {
    const path = event.composedPath().filter((node) => node instanceof Element);
    if (path.some((node) => node.isContentEditable || node.matches(TYPING))) return false;
    if (event.key === " " && path.some((node) => node.matches(PRESSED_BY_SPACE))) return false;
    return this.#isHelpOpen() || !path.some((node) => node.matches(DIALOG));
  }
}

// Who has just chosen another queue or category wants to judge: the chooser lets the keys go.
function freeKeyboard() {
  if (document.activeElement?.matches(CHOOSING)) document.activeElement.blur();
}

class Review {
  #view;
  #keys;
  #session = null;
  #queue = null;
  #data = {};
  #trigger = () => {};
  #shownAt = 0;
  #timed = null; // the card whose picture is on screen since #shownAt
  #worked = false; // a verdict was given since the last end of a queue
  #ticker = 0;
  generation = 0;

  constructor(host) {
    const act = (action) => this.#act(action);
    this.#view = new View(host, act);
    this.#keys = new Keys(act, () => this.#view.helpOpen);
    this.#ticker = setInterval(() => this.#drawStatus(), 1000);
  }

  // Streamlit re-inserts the html when it changes during development.
  isOf(host) {
    return host.contains(this.#view.root);
  }

  update(data, trigger) {
    this.#data = data;
    this.#trigger = trigger;
    const session = Session.of(data);
    if (session !== this.#session) this.#enter(session);
    session.api.askForToken = () => trigger("token_expired", newId());
    session.api.configure(data.api_base, data.token);
    this.#view.scoreWord = data.score_word;
    this.#queue.prefetch = data.prefetch;
    const query = { strategy: data.strategy };
    if (data.category_id !== null) query.category = data.category_id;
    if (this.#queue.open(new URLSearchParams(query).toString())) freeKeyboard();
    this.#draw();
  }

  close() {
    clearInterval(this.#ticker);
    this.#keys.close();
    this.#view.close();
    this.#leave();
  }

  #enter(session) {
    this.#leave();
    this.#session = session;
    this.#queue = new CardQueue(session.api, session.outbox);
    this.#queue.heat = session.heat;
    this.#queue.onChange = () => this.#draw();
    this.#view.heat(session.heat);
    session.outbox.onChange = () => this.#drawStatus();
    session.outbox.onAdopted = () => {
      this.#queue.setAside(session.outbox.proposals);
      this.#draw();
    };
    session.onAnswer = (operation, answer) => this.#answered(operation, answer);
  }

  // The outbox goes on sending; only nobody watches it any more.
  #leave() {
    this.#queue?.close();
    if (!this.#session) return;
    this.#session.outbox.onChange = () => {};
    this.#session.outbox.onAdopted = () => {};
    this.#session.onAnswer = () => {};
  }

  #act(action) {
    if (this.#view.helpOpen && action !== "help") return;
    const actions = {
      accept: () => this.#decide("accept"),
      reject: () => this.#decide("reject"),
      skip: () => this.#decide("skip"),
      undo: () => this.#undo(),
      heat: () => this.#toggleHeat(),
      help: () => this.#view.toggleHelp(),
      send: () => this.#session.outbox.retryNow(),
      again: () => this.#again(),
    };
    actions[action]();
  }

  #decide(choice) {
    const { current: card } = this.#queue;
    if (!card) return;
    if (choice !== "skip" && card.picture.state !== "ready") {
      this.#view.notice("Wait for the picture, or skip it.");
      return;
    }
    const opposite = card.state === "present" ? "absent" : "present";
    const verdict = { accept: card.state, reject: opposite, skip: "skip" }[choice];
    const seconds = this.#timed === card ? (performance.now() - this.#shownAt) / 1000 : 0;
    const entry = { id: newId(), card: this.#queue.take(), verdict, seconds };
    this.#session.remember(entry);
    this.#worked = true;
    this.#draw();
    this.#session.outbox.add(this.#operation(entry));
    this.#queue.fill();
  }

  #operation({ id, card, verdict, seconds }) {
    return {
      client_id: id,
      proposal_id: card.proposal_id,
      image_id: card.image_id,
      category_id: card.category_id,
      verdict,
      seconds: Math.round(seconds * 1000) / 1000,
      label: card.category,
    };
  }

  #undo() {
    const entry = this.#session.history.pop();
    if (!entry) {
      this.#view.notice("There is nothing to undo.");
      return;
    }
    this.#queue.putBack(entry.card);
    this.#draw();
    const { category: label, proposal_id: shows } = entry.card;
    this.#session.outbox.add({ client_id: newId(), undoes: entry.id, label, shows });
  }

  #toggleHeat() {
    this.#session.heat = this.#queue.heat = !this.#queue.heat;
    this.#view.heat(this.#queue.heat);
    this.#queue.load();
    this.#draw();
  }

  #again() {
    if (this.#queue.problem) this.#queue.retry();
    else this.#queue.restart();
    this.#draw();
  }

  #answered(operation, answer) {
    const { status, message } = answer;
    if (operation.undoes) this.#undone(operation, answer);
    else if (status === "stale" || status === "refused") this.#queue.remove(operation.proposal_id);
    const name = operation.label ?? "One verdict";
    if (status === "stale") {
      const what = operation.undoes ? "cannot be undone any more" : "already decided by someone else";
      this.#view.notice(`${name}: ${message || what}`);
    }
    if (status === "refused") this.#view.notice(`${name}: refused – ${message || "no reason given"}`);
    this.#draw();
  }

  #undone({ shows }, { status, card }) {
    if (status === "stale" || status === "refused") this.#queue.remove(shows);
    else if (card) {
      this.#queue.replace(shows, card);
      this.#view.forget();
    }
  }

  #draw() {
    const queue = this.#queue;
    const card = queue.current;
    if (card) this.#view.card(card, queue.heat);
    else this.#drawCover();
    if (card !== this.#timed && (!card || card.picture.state === "ready")) {
      this.#timed = card;
      this.#shownAt = performance.now();
    }
    this.#drawFigures();
    this.#drawStatus();
  }

  #drawCover() {
    const { problem, exhausted } = this.#queue;
    if (problem && problem.kind !== "expired") {
      const title = "The next cards could not be fetched.";
      const next = problem.kind === "refused" ? "" : " Trying again by itself.";
      this.#view.cover("problem", title, `${problem.message}${next}`, [], "Try again");
    } else if (exhausted) this.#drawEnd();
    else this.#view.cover("loading", "", "Fetching the next cards …");
  }

  #drawEnd() {
    const { verdicts, skips, rate } = this.#session;
    const done = [plural(verdicts, "verdict"), `${plural(skips, "picture")} skipped`];
    const speed = rate ? [`${rate} a minute`] : [];
    this.#view.cover("end", "Nothing left in this queue.", `This session: ${[...done, ...speed].join(", ")}.`, [
      "Choose another queue or another category.",
      "Train again: your verdicts make the next proposals better.",
    ], "Check again");
    if (!this.#worked) return;
    this.#worked = false;
    if (this.#data.report_finished) this.#trigger("finished", verdicts);
  }

  #drawFigures() {
    const { history, refused, verdicts, rate } = this.#session;
    const entry = history.at(-1);
    const left = this.#queue.current || this.#queue.exhausted ? this.#queue.left : null;
    const last = entry ? `Last: ${entry.card.category} – ${entry.verdict}` : "";
    this.#view.figures({ left, verdicts, rate, last, canUndo: Boolean(entry) });
    this.#view.refused(refused);
  }

  #drawStatus() {
    if (this.#session) this.#view.status(this.#session.outbox.status);
  }
}

const mounted = new WeakMap();

// Called by Streamlit at every rerun with the same parentElement; the returned cleanup runs at
// unmounting, and also for a call that a later one overtook: only the latest may close.
export default function ({ data, parentElement, setTriggerValue }) {
  let review = mounted.get(parentElement);
  if (review && !review.isOf(parentElement)) {
    review.close();
    review = null;
  }
  if (!review) {
    review = new Review(parentElement);
    mounted.set(parentElement, review);
  }
  const generation = ++review.generation;
  review.update(data, setTriggerValue);
  return () => {
    if (review.generation !== generation) return;
    review.close();
    mounted.delete(parentElement);
  };
}
