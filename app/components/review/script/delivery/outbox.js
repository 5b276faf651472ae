// Outbox: how verdicts reach the server. Nothing leaves it before the server answered it.

import { CallError } from "./api.js";
import { Backoff } from "./backoff.js";
import { Shelf } from "./shelf.js";

const BATCH = 100;
const DELIVERED_LIMIT = 1_000; // milliseconds that anything else waits for verdicts
const ADOPT_EVERY = 10_000; // look for verdicts that closed tabs left behind

// Where each kind of operation goes. The server knows every one by its client_id.
const ROUTES = {
  decide: "/api/decisions",
  batch: "/api/decisions",
  absent: "/api/absent",
  undo: "/api/undo",
  redo: "/api/redo",
  flag: "/api/flags",
  unflag: "/api/unflag",
};

// Verdicts, batches, undos … in the order they were made, each with its kind and, for messages,
// `label`. One request at a time; decisions that pile up meanwhile go together with the next.
// An operation leaves after its own answer, never earlier.
export class Outbox {
  #api;
  #shelf;
  #onAnswer;
  #operations = [];
  #backoff = new Backoff();
  #timer = 0;
  #sending = false;
  #waiting = []; // for what is being sent
  #batch = BATCH;
  #trouble = null; // the CallError being waited out
  #retryAt = 0;
  onAdd = () => {};
  onChange = () => {};
  onAdopted = () => {};

  constructor(scope, api, onAnswer) {
    this.#api = api;
    this.#onAnswer = onAnswer;
    this.#shelf = new Shelf(scope);
    api.onRenewed.add(() => this.retryNow());
    window.addEventListener("online", () => this.retryNow());
    window.addEventListener("pageshow", () => this.#shelf.save(this.#operations));
    window.addEventListener("beforeunload", (event) => {
      if (this.#operations.length) event.preventDefault();
    });
    this.ready = this.#adopt(); // what an earlier page left is here, or there is nothing
    setInterval(() => this.#adopt(), ADOPT_EVERY);
  }

  add(operation) {
    this.onAdd(operation);
    this.#operations.push(operation);
    this.#changed();
    this.#send();
  }

  retryNow() {
    clearTimeout(this.#timer);
    this.#retryAt = 0;
    this.#send();
  }

  // Proposals whose verdicts the server has not confirmed yet.
  get proposals() {
    const decisions = this.#operations.flatMap((operation) => operation.decisions ?? [operation]);
    return new Set(decisions.map((decision) => decision.proposal_id).filter(Boolean));
  }

  // What the indicator shows: how many are kept here, and what they wait for.
  get status() {
    const count = this.#operations.length;
    if (!count) return { kind: "saved", count };
    if (this.#api.expired) return { kind: "expired", count };
    if (!this.#trouble) return { kind: "saving", count };
    const seconds = Math.max(0, Math.ceil((this.#retryAt - Date.now()) / 1000));
    return { kind: this.#trouble.kind, count, seconds };
  }

  #adopt() {
    return this.#shelf.adopt((found) => {
      // Pages of earlier versions wrote down no kind.
      const named = found.map((operation) => ({ kind: operation.undoes ? "undo" : "decide", ...operation }));
      this.#operations.unshift(...named);
      this.#changed();
      this.onAdopted();
      this.#send();
    });
  }

  #changed() {
    this.#shelf.save(this.#operations);
    this.onChange();
  }

  async #send() {
    if (this.#sending || this.#retryAt > Date.now()) return;
    this.#sending = true;
    while (this.#operations.length && !this.#api.expired) {
      const batch = this.#nextBatch();
      try {
        this.#settle(batch, await this.#post(batch));
      } catch (error) {
        if (!(error instanceof CallError)) console.error(error);
        if (!this.#handle(batch, error)) break;
      }
    }
    this.#sending = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
    this.onChange();
  }

  // Resolves when what was just said is answered or waits for another try, or after a moment.
  delivered() {
    return new Promise((resolve) => {
      setTimeout(resolve, DELIVERED_LIMIT);
      setTimeout(() => (this.#sending ? this.#waiting.push(resolve) : resolve()));
    });
  }

  // The longest run of single decisions at the front, or one of anything else.
  #nextBatch() {
    if (this.#operations[0].kind !== "decide") return this.#operations.slice(0, 1);
    const end = this.#operations.findIndex((operation) => operation.kind !== "decide");
    return this.#operations.slice(0, Math.min(this.#batch, end < 0 ? Infinity : end));
  }

  async #post(batch) {
    const [first] = batch;
    const route = ROUTES[first.kind];
    const [body] = batch.map(({ kind, label, shows, brings, accepted, ...content }) => content);
    if (first.kind === "decide") {
      const decisions = batch.map(({ kind, label, accepted, ...decision }) => decision);
      return (await this.#api.post(route, { decisions })).results ?? [];
    }
    if (first.kind !== "batch") return [await this.#api.post(route, body)];
    const { decisions, client_id: batch_id } = body;
    return [this.#asOne(first, (await this.#api.post(route, { decisions, batch_id })).results ?? [])];
  }

  // One answer for a batch: as good as its best member, saying how many were not stored.
  #asOne({ client_id, decisions }, results) {
    if (results.length < decisions.length) return { client_id };
    const lost = results.filter(({ status }) => status === "stale" || status === "refused");
    const status = lost.length < results.length ? "saved" : lost[0].status;
    const stale = lost.filter((result) => result.status === "stale").length;
    const parts = [
      [stale, "decided by somebody else meanwhile"],
      [lost.length - stale, `refused (${lost.find((one) => one.status === "refused")?.message})`],
    ];
    const told = parts.filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(", ");
    return { client_id, status, message: told ? `of ${results.length}, ${told}` : null, results };
  }

  #settle(batch, results) {
    const known = ["saved", "duplicate", "stale", "refused"];
    const answers = new Map(results.map((result) => [result.client_id, result]));
    const answered = batch.filter(({ client_id: id }) => known.includes(answers.get(id)?.status));
    if (!answered.length) throw new CallError("busy", "The server answered none of the verdicts.");
    this.#backoff.reset();
    this.#trouble = null;
    this.#batch = BATCH;
    for (const operation of answered) this.#finish(operation, answers.get(operation.client_id));
  }

  #finish(operation, answer) {
    const gone = answer.status === "stale" || answer.status === "refused";
    this.#operations = this.#operations.filter(
      // An undo of what was never stored has nothing to undo.
      (other) => other !== operation && !(gone && [other.undoes, other.redoes].includes(operation.client_id)),
    );
    this.#changed();
    this.#onAnswer(operation, answer);
  }

  // Whether to go on sending at once.
  #handle(batch, error) {
    if (error.kind === "expired") return !this.#api.expired;
    if (error.kind === "refused" && batch.length > 1) {
      this.#batch = 1; // find the one that is refused
      return true;
    }
    if (error.kind === "refused") {
      this.#finish(batch[0], { status: "refused", message: error.message });
      return true;
    }
    const delay = this.#backoff.next();
    this.#trouble = error;
    this.#retryAt = Date.now() + delay;
    this.#timer = setTimeout(() => this.retryNow(), delay);
    return false;
  }
}
