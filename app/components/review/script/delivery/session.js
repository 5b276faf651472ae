// Session: one annotator's work on one dataset in this tab. It outlives the mounted component.

import { plural } from "../words.js";
import { Api } from "./api.js";
import { Backoff } from "./backoff.js";
import { Outbox } from "./outbox.js";

const RATE_OVER = 60; // verdicts
const RATE_FROM = 5;
const LONGEST_THOUGHT = 30; // seconds; longer is a pause, not judging
const REMEMBERED = 50; // earlier entries that can be undone after a reload

// What can be undone: { id, label, verdict, count } and, of this page's own, what the mode needs
// to show it again.
export class Session {
  static #open = new Map();
  api = new Api();
  heat = false; // whether heat maps are shown
  boxes = false; // whether the source file's boxes are shown
  history = []; // entries, oldest first
  undone = []; // entries that redo brings back
  refused = [];
  onAnswer = () => {};
  #tally = new Map(); // id of a verdict or batch -> { verdicts, skips, asked, accepted }
  #takenBack = new Map(); // the same of what was undone
  #recent = []; // { verdicts, seconds } of the last ones
  #categories = null;

  constructor(scope) {
    this.outbox = new Outbox(scope, this.api, (operation, answer) => this.#answered(operation, answer));
    this.outbox.onAdd = (operation) => this.#count(operation);
  }

  static of({ dataset_id: dataset, annotator }) {
    const scope = `${dataset}:${encodeURIComponent(annotator)}`;
    if (!Session.#open.has(scope)) Session.#open.set(scope, new Session(scope));
    return Session.#open.get(scope);
  }

  // What was said before this page was opened can be undone too.
  async remember() {
    const { entries } = await this.#entries();
    const known = new Set([...this.history, ...this.undone].map((entry) => entry.id));
    const earlier = entries.filter((entry) => entry.undoable && !known.has(entry.id));
    this.history.unshift(
      ...earlier.reverse().map(({ id, category, verdict, count }) => ({
        id,
        label: category ?? plural(count, "label"),
        verdict,
      })),
    );
  }

  async #entries() {
    const backoff = new Backoff();
    for (;;) {
      try {
        return await this.api.get(`/api/history?limit=${REMEMBERED}`);
      } catch (error) {
        if (error.kind === "refused") return { entries: [] };
        await new Promise((resolve) => setTimeout(resolve, backoff.next()));
      }
    }
  }

  // A new verdict ends what could be redone.
  gave(entry) {
    this.history.push(entry);
    this.undone = [];
  }

  async categories() {
    this.#categories ??= this.api.get("/api/categories").then(({ categories }) => categories);
    try {
      return await this.#categories;
    } catch (error) {
      this.#categories = null;
      throw error;
    }
  }

  #count(operation) {
    const { kind, client_id: id, undoes, redoes } = operation;
    if (kind === "undo") this.#move(this.#tally, this.#takenBack, undoes, undoes);
    else if (kind === "redo") this.#move(this.#takenBack, this.#tally, redoes, id);
    else if (kind === "decide" || kind === "batch") {
      const decisions = operation.decisions ?? [operation];
      const verdicts = decisions.filter(({ verdict }) => verdict !== "skip").length;
      const skips = decisions.length - verdicts;
      const asked = "accepted" in operation ? verdicts : 0;
      this.#tally.set(id, { verdicts, skips, asked, accepted: Number(operation.accepted ?? 0) });
      const seconds = decisions.reduce((sum, one) => sum + Math.min(one.seconds, LONGEST_THOUGHT), 0);
      this.#recent = [...this.#recent, { verdicts: decisions.length, seconds }].slice(-RATE_OVER);
    } else if (kind === "absent") this.#tally.set(id, { verdicts: 1, skips: 0, asked: 0, accepted: 0 });
  }

  #move(from, to, id, newId) {
    if (from.has(id)) to.set(newId, from.get(id));
    from.delete(id);
  }

  #answered(operation, answer) {
    const { client_id: id } = operation;
    if (answer.status === "stale" || answer.status === "refused") {
      this.history = this.history.filter((entry) => entry.id !== id);
      this.undone = this.undone.filter((entry) => entry.id !== id);
      this.#tally.delete(id);
      this.#takenBack.delete(id);
    }
    if (answer.status === "refused") {
      const what = operation.verdict ?? operation.kind;
      const which = operation.label ? `${operation.label}: ` : "";
      this.refused.push(`${which}${what}: ${answer.message || "no reason given"}`);
    }
    this.onAnswer(operation, answer);
  }

  #sum(what) {
    return [...this.#tally.values()].reduce((sum, one) => sum + one[what], 0);
  }

  get verdicts() {
    return this.#sum("verdicts");
  }

  get skips() {
    return this.#sum("skips");
  }

  // Share of the model's proposals that were judged as it had judged them.
  get acceptance() {
    const asked = this.#sum("asked");
    return asked >= RATE_FROM ? this.#sum("accepted") / asked : null;
  }

  // Verdicts per minute of judging, pauses left out.
  get rate() {
    const verdicts = this.#recent.reduce((sum, one) => sum + one.verdicts, 0);
    if (verdicts < RATE_FROM) return null;
    const spent = this.#recent.reduce((sum, one) => sum + one.seconds, 0);
    return Math.round((60 * verdicts) / Math.max(spent, 0.001));
  }
}
