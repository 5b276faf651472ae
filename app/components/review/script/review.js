// Review: the shell around the modes. It owns what they share: the session, the keys, the foot
// with its figures, the dialogs. A mode has this face:
//
//   constructor(shell)            shell: api, session, outbox, data, mount, template(name), notice(text),
//                                 show() / loading() / problem(error) / end(), drawFigures(),
//                                 pick(categories, states, onPick), askFlag(onComment)
//   open(query, data)             at every rerun of the page; the same query again changes nothing
//   act(action, event)            a key or a button; false when it means nothing to the mode now
//   answered(operation, answer)   the server has answered one of the outbox's operations
//   adopted(proposals)            verdicts of a closed tab have turned up
//   renewed()                     the routes can be called again
//   again()                       "Check again" was pressed
//   left                          { queue, category, all } or null
//   close()

import { CardMode } from "./card/card.js";
import { Session } from "./delivery/session.js";
import { newId } from "./delivery/tab.js";
import { GridMode } from "./grid/grid.js";
import { Keys } from "./keys.js";
import { View } from "./view.js";
import { plural } from "./words.js";

const MODES = { card: CardMode, grid: GridMode };

class Review {
  #view;
  #keys;
  #mode = null;
  #modeName = "";
  #ticker = 0;
  #renewed = () => this.#mode?.renewed();
  #leaving = () => this.session.api.farewell("/api/leases", { release: true });
  #trigger = () => {};
  #keysGiven = "";
  #worked = false; // a verdict was given since the last end of a queue
  session = null;
  data = {};
  generation = 0;

  constructor(host) {
    this.#view = new View(host, (action) => this.#act(action));
    this.#view.onKey = (action, key) => this.#saveKeys({ ...this.data.keys, [action]: key });
    this.#view.onDefaults(() => this.#saveKeys({}));
    this.#keys = new Keys((action, event) => this.#act(action, event), () => this.#view.helpOpen);
    this.#ticker = setInterval(() => this.#drawStatus(), 1000);
    window.addEventListener("pagehide", this.#leaving);
  }

  // Streamlit re-inserts the html when it changes during development.
  isOf(host) {
    return host.contains(this.#view.root);
  }

  update(data, trigger) {
    const keys = JSON.stringify(data.keys);
    this.data = keys === this.#keysGiven ? { ...data, keys: this.data.keys } : data;
    this.#keysGiven = keys;
    this.#trigger = trigger;
    const session = Session.of(data);
    session.api.askForToken = () => trigger("token_expired", newId());
    session.api.configure(data.api_base, data.token);
    if (session !== this.session) this.#enter(session);
    if (data.mode !== this.#modeName) this.#change(data.mode);
    this.#drawKeys();
    this.#mode.open(this.#query(), this.data);
    this.drawFigures();
    this.#drawStatus();
  }

  #query() {
    const { strategy, category_id: category, filters } = this.data;
    const chosen = Object.entries({ strategy, category, ...filters }).filter(([, value]) => value !== null && value !== "");
    return new URLSearchParams(chosen).toString();
  }

  close() {
    clearInterval(this.#ticker);
    window.removeEventListener("pagehide", this.#leaving);
    this.#keys.close();
    this.#view.close();
    this.#mode.close();
    this.#leaving();
    this.#leave();
  }

  #enter(session) {
    this.#leave();
    this.session = session;
    this.#modeName = "";
    session.outbox.onChange = () => this.#drawStatus();
    session.outbox.onAdopted = () => this.#mode.adopted(session.outbox.proposals);
    session.onAnswer = (operation, answer) => this.#answered(operation, answer);
    session.api.onRenewed.add(this.#renewed);
    session.remember().then(() => session === this.session && this.drawFigures());
  }

  // The outbox goes on sending; only nobody watches it any more.
  #leave() {
    if (!this.session) return;
    this.session.outbox.onChange = () => {};
    this.session.outbox.onAdopted = () => {};
    this.session.onAnswer = () => {};
    this.session.api.onRenewed.delete(this.#renewed);
  }

  #change(mode) {
    this.#mode?.close();
    this.#modeName = mode;
    this.#view.mode(mode);
    this.#mode = new MODES[mode](this);
  }

  // What the modes use

  get api() {
    return this.session.api;
  }

  get outbox() {
    return this.session.outbox;
  }

  get mount() {
    return this.#view.mount;
  }

  template(name) {
    return this.#view.template(name);
  }

  notice(text) {
    this.#view.notice(text);
  }

  pick(categories, states, onPick) {
    this.#view.picker.open(categories, states, onPick);
  }

  askFlag(onComment) {
    this.#view.askFlag(onComment);
  }

  show() {
    this.#view.show();
  }

  loading() {
    this.#view.cover("loading", "", "Fetching the next cards …");
  }

  problem(error) {
    const next = error.kind === "refused" ? "" : " Trying again by itself.";
    this.#view.cover("problem", "The next cards could not be fetched.", `${error.message}${next}`, [], "Try again");
  }

  end() {
    const { verdicts, skips, rate } = this.session;
    const done = [plural(verdicts, "verdict"), `${plural(skips, "picture")} skipped`];
    const speed = rate ? [`${rate} a minute`] : [];
    const said = `This session: ${[...done, ...speed].join(", ")}.`;
    this.#view.cover("end", "Nothing left in this queue.", said, this.data.next_steps, "Check again");
    if (!this.#worked) return;
    this.#worked = false;
    if (this.data.report_finished) this.#trigger("finished", verdicts);
  }

  // Keys and buttons

  #act(action, event) {
    if (this.#view.helpOpen && action !== "help") return false;
    if (action === "help") return this.#view.toggleHelp();
    if (action === "send") return this.outbox.retryNow();
    if (action === "again") return this.#mode.again();
    this.#worked ||= ["accept", "reject", "skip", "others"].includes(action);
    if (this.#mode.act(action, event) !== false) return this.drawFigures();
    if (action === "undo") return this.#undo();
    if (action === "redo") return this.#redo();
    return false;
  }

  // What was said before this page, or in the other mode: the answer brings the question back.
  #undo() {
    const entry = this.session.history.pop();
    if (!entry) return this.notice("There is nothing to undo.");
    this.session.undone.push(entry);
    this.outbox.add({ kind: "undo", client_id: newId(), undoes: entry.id, label: entry.label, brings: true });
    this.notice(`Undone: ${entry.label} – ${entry.verdict}`);
    this.drawFigures();
  }

  #redo() {
    const entry = this.session.undone.pop();
    if (!entry) return this.notice("There is nothing to redo.");
    const redoes = entry.id;
    entry.id = newId();
    this.session.history.push(entry);
    this.outbox.add({ kind: "redo", client_id: entry.id, redoes, label: entry.label });
    this.notice(`Again: ${entry.label} – ${entry.verdict}`);
    this.drawFigures();
  }

  async #saveKeys(keys) {
    try {
      const saved = await this.api.post("/api/preferences", { keys });
      this.data.keys = saved.keys;
      this.#view.keyProblem("");
      this.#drawKeys();
    } catch (error) {
      this.#view.keyProblem(error.message);
    }
  }

  // Answers

  #answered(operation, answer) {
    const { status, message } = answer;
    const name = operation.label ?? "One verdict";
    if (status === "stale") {
      const what = operation.kind === "undo" ? "cannot be undone any more" : "already decided by someone else";
      this.notice(`${name}: ${message || what}`);
    } else if (status === "refused") this.notice(`${name}: refused – ${message || "no reason given"}`);
    else if (message) this.notice(`${name}: ${message}`);
    this.#mode.answered(operation, answer);
    this.drawFigures();
  }

  // Drawing

  #drawKeys() {
    this.#keys.configure(this.#modeName, this.data.keys);
    this.#view.keys(this.#modeName, this.data.keys);
  }

  drawFigures() {
    const { history, undone, refused, verdicts, rate, acceptance } = this.session;
    const entry = history.at(-1);
    const last = entry ? `Last: ${entry.label} – ${entry.verdict}` : "";
    const left = this.#mode?.left ?? null;
    this.#view.figures({ left, verdicts, rate, acceptance, last, canUndo: this.#canUndo, canRedo: undone.length > 0 || Boolean(this.#mode?.canRedo) });
    this.#view.refused(refused);
  }

  get #canUndo() {
    return this.session.history.length > 0 || Boolean(this.#mode?.canUndo);
  }

  #drawStatus() {
    if (!this.session) return;
    this.#view.status(this.outbox.status);
    this.drawFigures();
  }
}

const mounted = new WeakMap();

// Called at every rerun with the same parentElement; the returned cleanup runs at
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
