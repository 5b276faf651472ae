// Feed: what the queue's route gives, page by page, held ahead of the person who judges it.
//
// A mode holds it in its own way, and says in a subclass:
//
//   make(raw, isKnown)   an item of what the server describes; what of it isKnown is left out
//   has(proposalId)      whether an item asks this question
//   drop(item)           its pictures are let go
//   remove(proposals)    decided elsewhere, or shown by somebody else
//   lost(proposals)      the same, found when the leases were renewed
//   wanted               how many items are to be held
//   kept                 how many of the first ones stay when a new model run serves
//   asked                proposals that are leased: the questions without an answer
//   pictures             what is loaded ahead, first ones first, each with loading and load(size)

import { CallError } from "../delivery/api.js";
import { Backoff } from "../delivery/backoff.js";

const LOADING_AT_ONCE = 4; // leaves connections free for verdicts (browsers open six)
const RENEW_EVERY = 120_000; // milliseconds; the server leases for five minutes

export class Feed {
  #api;
  #outbox;
  #limit; // asked for at once
  #query = "";
  #round = 0; // answers to an earlier query are dropped
  #fetching = false;
  #timer = 0;
  #backoff = new Backoff();
  #cursor = null; // where the next page begins; null at the queue's front
  #again = false; // the front was asked for once more, for what was passed by or came back
  #run = null;
  #left = null; // { queue, category, all, at_least }
  #renewal = 0;
  done = new Set(); // proposals settled here since the queue was opened
  items = []; // in the order they will be shown
  thumb = 0; // size of the pictures asked for, where a mode has several
  exhausted = false;
  problem = null; // why the last fetch failed
  onChange = () => {}; // other items are held

  constructor(api, outbox, limit) {
    this.#api = api;
    this.#outbox = outbox;
    this.#limit = limit;
    this.#renewal = setInterval(() => this.#renew(), RENEW_EVERY);
  }

  close() {
    this.#round += 1;
    clearTimeout(this.#timer);
    clearInterval(this.#renewal);
    this.items.forEach((item) => this.drop(item));
  }

  get query() {
    return this.#query;
  }

  // Opens another queue; the same query again changes nothing. Tells whether it was another one.
  open(query) {
    if (query === this.#query) return false;
    this.#query = query;
    this.restart();
    return true;
  }

  // The queue from its front.
  restart() {
    this.#round += 1;
    this.#fetching = false;
    this.items.forEach((item) => this.drop(item));
    this.items = [];
    this.#cursor = null;
    this.#again = false;
    this.#run = null;
    this.#left = null;
    this.done.clear();
    this.retry();
  }

  retry() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.exhausted = false;
    this.fill();
  }

  // How many wait in this queue, of its category, in all; null while that is not known.
  get left() {
    if (!this.#left) return null;
    const held = this.items.length;
    return { ...this.#left, queue: this.exhausted ? held : Math.max(this.#left.queue, held) };
  }

  // So many more, or less, wait now.
  count(more) {
    for (const which of this.#left ? ["queue", "category", "all"] : []) {
      if (this.#left[which] !== null) this.#left[which] = Math.max(0, this.#left[which] + more);
    }
  }

  // Start the next pictures, a few at a time and in order.
  load() {
    const wanted = this.pictures;
    let loading = wanted.filter((picture) => picture.loading).length;
    for (const picture of wanted) {
      if (loading >= LOADING_AT_ONCE) return;
      if (picture.load(this.thumb)) loading += 1;
    }
  }

  async fill() {
    this.load();
    if (!this.#query || this.#fetching || this.#timer) return;
    if (this.exhausted || this.items.length >= this.wanted) return;
    const round = this.#round;
    this.#fetching = true;
    try {
      await this.#outbox.ready;
      // Acknowledged while the page was under way: the page may not know it yet.
      const underway = new Set(this.#outbox.proposals);
      const answer = await this.#api.get(this.#address());
      if (round === this.#round) this.#receive(answer, underway);
    } catch (error) {
      if (round === this.#round) this.#failed(error);
    }
    if (round !== this.#round) return;
    this.#fetching = false;
    this.onChange();
    if (!this.problem) this.fill();
  }

  #address() {
    const parameters = new URLSearchParams(this.#query);
    parameters.set("limit", this.#limit);
    if (this.#cursor) parameters.set("after", this.#cursor);
    return `/api/queue?${parameters}`;
  }

  #receive({ cards, cursor, left, model_run_id: run }, underway) {
    this.#backoff.reset();
    this.problem = null;
    if (this.#changeRun(run)) return;
    const pending = this.#outbox.proposals;
    const isKnown = ({ proposal_id: id }) => underway.has(id) || pending.has(id) || this.done.has(id) || this.has(id);
    const held = this.items.length;
    for (const raw of cards) {
      if (!isKnown(raw)) this.items.push(this.make(raw, isKnown));
    }
    if (left) this.#left = { ...left, queue: Math.max(0, left.queue - pending.size) };
    this.#turnPage(cursor, this.items.length > held);
    this.load();
  }

  // At the end the front is asked for once more: what was passed by, leases that ran out.
  #turnPage(cursor, fresh) {
    const atFront = this.#cursor === null;
    this.#cursor = cursor;
    if (fresh) this.#again = false;
    if (cursor !== null) return;
    this.exhausted = !fresh && (atFront || this.#again);
    this.#again = true;
  }

  // Proposals of an older model run are put aside, all but what is being looked at, and the new
  // queue begins at its front. Tells whether the answer is to be asked for again.
  #changeRun(run) {
    const changed = this.#run !== null && run !== null && run !== this.#run;
    this.#run = run ?? this.#run;
    if (!changed) return false;
    this.items.splice(this.kept).forEach((item) => this.drop(item));
    const midway = this.#cursor !== null;
    this.#cursor = null;
    this.#again = false;
    return midway;
  }

  async #renew() {
    const proposals = this.asked;
    if (!proposals.length) return;
    try {
      const { lost } = await this.#api.post("/api/leases", { proposals });
      if (lost.length) this.lost(new Set(lost));
    } catch {
      // The next round tries again; the server tells what was decided meanwhile.
    }
  }

  #failed(error) {
    if (!(error instanceof CallError)) console.error(error);
    this.problem = error;
    if (error.kind !== "expired" && error.kind !== "refused") {
      this.#timer = setTimeout(() => this.retry(), this.#backoff.next());
    }
  }
}
