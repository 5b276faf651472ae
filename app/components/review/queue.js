// Queue: the cards held ready in the browser, the first ones with their pictures decoded.

const FETCH = 32; // cards asked for at once
const LOW = 8; // held cards below which more are fetched
const LOADING_AT_ONCE = 4; // leaves connections free for verdicts (browsers open six)
const EXCLUDE_AT_MOST = 300; // keeps the address short; the rest is filtered on arrival

// A picture loaded and decoded ahead of time, ready to be drawn in the same frame.
class Picture {
  #api;
  #path;
  #backoff = new Backoff();
  #timer = 0;
  state = "idle"; // idle, loading, ready, failed
  problem = "";
  element = null;
  onSettled = () => {};

  constructor(api, path) {
    this.#api = api;
    this.#path = path;
  }

  async start() {
    this.state = "loading";
    const element = new Image();
    this.element = element;
    element.decoding = "sync";
    element.draggable = false;
    element.alt = "";
    element.src = this.#api.pictureUrl(this.#path);
    const shown = await element.decode().then(() => true, () => false);
    if (this.element !== element) return; // dropped meanwhile
    const problem = shown ? null : await this.#explain();
    if (this.element !== element) return;
    this.state = shown ? "ready" : "failed";
    this.problem = problem?.message ?? "";
    if (problem && problem.kind !== "refused") {
      this.#timer = setTimeout(() => this.start(), this.#backoff.next());
    }
    this.onSettled(this);
  }

  // An <img> does not say why it failed: a broken file stays failed, anything else is tried again.
  #explain() {
    const passed = new CallError("busy", "The picture could not be shown.");
    return this.#api.probe(this.#path).then(() => passed, (error) => error);
  }

  // Free the decoded pixels; start() brings them back.
  drop() {
    clearTimeout(this.#timer);
    this.element?.removeAttribute("src");
    this.element = null;
    this.state = "idle";
  }
}

// Cards in the order they will be shown; the first is the current one.
class CardQueue {
  #api;
  #outbox;
  #query = "";
  #round = 0; // answers to an earlier query are dropped
  #fetching = false;
  #timer = 0;
  #backoff = new Backoff();
  #done = new Set(); // proposals decided here since the queue was opened
  #run = null;
  #remaining = 0;
  #renewed = () => this.fill();
  cards = [];
  prefetch = 6;
  heat = false;
  exhausted = false;
  problem = null; // why the last fetch failed
  newRun = false;
  onChange = () => {};

  constructor(api, outbox) {
    this.#api = api;
    this.#outbox = outbox;
    api.onRenewed.add(this.#renewed);
  }

  close() {
    this.#round += 1;
    clearTimeout(this.#timer);
    this.#api.onRenewed.delete(this.#renewed);
    this.cards.forEach((card) => this.#drop(card));
  }

  // Opens another queue; the same query again changes nothing. Tells whether it was another one.
  open(query) {
    if (query === this.#query) return false;
    this.#query = query;
    this.restart();
    return true;
  }

  restart() {
    this.#round += 1;
    this.#fetching = false;
    this.cards.forEach((card) => this.#drop(card));
    this.cards = [];
    this.#run = null;
    this.#remaining = 0;
    this.#done.clear();
    this.retry();
  }

  retry() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.exhausted = false;
    this.fill();
  }

  get current() {
    return this.cards[0] ?? null;
  }

  get left() {
    return this.exhausted ? this.cards.length : Math.max(this.#remaining, this.cards.length);
  }

  // The current card is decided: move on. fill() is for the caller, once the verdict is pending.
  take() {
    const card = this.cards.shift();
    this.#done.add(card.proposal_id);
    this.#remaining -= 1;
    return card;
  }

  // An undone card is shown again at once.
  putBack(card) {
    this.#done.delete(card.proposal_id);
    this.#remaining += 1;
    this.cards.unshift(this.#watch(card));
    this.load();
  }

  // The server's newer description of a card that is held.
  replace(proposalId, raw) {
    const at = this.cards.findIndex((card) => card.proposal_id === proposalId);
    if (at >= 0) Object.assign(this.cards[at], raw);
  }

  remove(proposalId) {
    const at = this.cards.findIndex((card) => card.proposal_id === proposalId);
    if (at < 0) return;
    this.#done.add(proposalId);
    this.#drop(...this.cards.splice(at, 1));
    this.fill();
  }

  // Verdicts of a closed tab have turned up: their cards need no second one.
  setAside(proposals) {
    this.cards.filter((card) => proposals.has(card.proposal_id)).forEach((card) => this.#drop(card));
    this.cards = this.cards.filter((card) => !proposals.has(card.proposal_id));
    this.fill();
  }

  #drop(card) {
    card.picture.drop();
    card.heatmap?.drop();
  }

  // Start the next pictures, a few at a time and in order.
  load() {
    const wanted = this.cards.slice(0, this.prefetch + 1).flatMap((card) => this.#pictures(card));
    let loading = wanted.filter((picture) => picture.state === "loading").length;
    for (const picture of wanted) {
      if (loading >= LOADING_AT_ONCE) break;
      if (picture.state !== "idle") continue;
      loading += 1;
      picture.start();
    }
  }

  #pictures(card) {
    return this.heat && card.heatmap ? [card.picture, card.heatmap] : [card.picture];
  }

  async fill() {
    this.load();
    if (!this.#query || this.#fetching || this.#timer) return;
    if (this.exhausted || this.cards.length >= LOW) return;
    const round = this.#round;
    this.#fetching = true;
    try {
      await this.#outbox.ready;
      const answer = await this.#api.get(this.#address());
      if (round === this.#round) this.#receive(answer);
    } catch (error) {
      if (round === this.#round) this.#failed(error);
    }
    if (round !== this.#round) return;
    this.#fetching = false;
    this.onChange();
    if (!this.problem) this.fill();
  }

  #address() {
    const held = this.cards.map((card) => card.proposal_id);
    const exclude = [...new Set([...held, ...this.#outbox.proposals])];
    const parameters = new URLSearchParams(this.#query);
    parameters.set("limit", FETCH);
    parameters.set("exclude", exclude.slice(0, EXCLUDE_AT_MOST).join(","));
    return `/api/queue?${parameters}`;
  }

  #receive({ cards, remaining, model_run_id: run }) {
    this.#backoff.reset();
    this.problem = null;
    this.#changeRun(run);
    const known = this.#outbox.proposals;
    for (const card of this.cards) known.add(card.proposal_id);
    const fresh = cards.filter(({ proposal_id: id }) => !known.has(id) && !this.#done.has(id));
    this.cards.push(...fresh.map((card) => this.#hold(card)));
    this.exhausted = !fresh.length && !this.newRun;
    this.#remaining = Math.max(0, remaining - this.#outbox.proposals.size);
    this.load();
  }

  // Proposals of an older model run are put aside, all but the one being looked at.
  #changeRun(run) {
    this.newRun = this.#run !== null && run !== null && run !== this.#run;
    if (this.newRun) this.cards.splice(1).forEach((card) => this.#drop(card));
    this.#run = run ?? this.#run;
  }

  #hold(raw) {
    const picture = new Picture(this.#api, raw.image_url);
    const heatmap = raw.heatmap_url ? new Picture(this.#api, raw.heatmap_url) : null;
    return this.#watch({ ...raw, picture, heatmap });
  }

  #watch(card) {
    for (const part of [card.picture, card.heatmap].filter(Boolean)) {
      part.onSettled = () => {
        this.load();
        if (card === this.current) this.onChange();
      };
    }
    return card;
  }

  #failed(error) {
    this.problem = error;
    if (error.kind === "busy" || error.kind === "unreachable") {
      this.#timer = setTimeout(() => this.retry(), this.#backoff.next());
    }
  }
}
