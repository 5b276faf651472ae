// Queue: the cards held ready in the browser, the first ones with their pictures decoded.

const FETCH = 32; // cards asked for at once
const LOW = 8; // held cards below which more are fetched
const LOADING_AT_ONCE = 4; // leaves connections free for verdicts (browsers open six)
const RENEW_EVERY = 120_000; // milliseconds; the server leases cards for five minutes

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

// One question about a card's picture: the proposal it was fetched for, or another of the image.
// `verdict` is what was answered here, "" before; `decision` the id of that answer.
function makeChip(api, raw) {
  const heatmap = raw.heatmap_url ? new Picture(api, raw.heatmap_url) : null;
  return { ...raw, heatmap, verdict: "", decision: null };
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
  #cursor = null; // where the next page begins; null at the queue's front
  #again = false; // the front was asked for once more, for what was passed by or came back
  #run = null;
  #left = null; // { queue, category, all }
  #renewal = 0;
  cards = [];
  prefetch = 6;
  heat = false;
  exhausted = false;
  problem = null; // why the last fetch failed
  onChange = () => {};
  onLost = () => {}; // a card is shown by somebody else now

  constructor(api, outbox) {
    this.#api = api;
    this.#outbox = outbox;
    this.#renewal = setInterval(() => this.#renew(), RENEW_EVERY);
  }

  close() {
    this.#round += 1;
    clearTimeout(this.#timer);
    clearInterval(this.#renewal);
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
    this.#cursor = null;
    this.#again = false;
    this.#run = null;
    this.#left = null;
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

  // How many wait in this queue, of its category, in all; null while that is not known.
  get left() {
    if (!this.#left) return null;
    const held = this.cards.length;
    const queue = this.exhausted ? held : Math.max(this.#left.queue, held);
    return { ...this.#left, queue };
  }

  // A question was answered, or its answer taken back.
  answered(chip, answered) {
    if (this.#done.has(chip.proposal_id) === answered) return;
    if (answered) this.#done.add(chip.proposal_id);
    else this.#done.delete(chip.proposal_id);
    for (const which of this.#left ? ["queue", "category", "all"] : []) {
      if (this.#left[which] !== null) this.#left[which] = Math.max(0, this.#left[which] + (answered ? -1 : 1));
    }
  }

  // Leave the current card. fill() is for the caller, once the verdict is pending.
  take() {
    return this.cards.shift();
  }

  // An earlier card is shown again at once.
  putBack(card) {
    this.cards = [card, ...this.cards.filter((other) => other !== card)];
    this.#watch(card);
    this.load();
  }

  // A card as the server describes it.
  hold(raw) {
    const { others = [], ...own } = raw;
    const chips = [own, ...others].map((chip) => makeChip(this.#api, chip));
    return this.#watch({ ...own, chips, added: [], picture: new Picture(this.#api, raw.image_url) });
  }

  has(proposalId) {
    return this.cards.some((card) => card.chips.some((chip) => chip.proposal_id === proposalId));
  }

  // Decided elsewhere, or shown by somebody else: these questions need no answer here.
  remove(proposals) {
    for (const id of proposals) this.#done.add(id);
    for (const card of this.cards) {
      const rest = card.chips.filter((chip) => chip.verdict || !proposals.has(chip.proposal_id));
      if (rest.length < card.chips.length) card.chips = rest;
    }
    const gone = this.cards.filter((card) => !card.chips.some((chip) => !chip.verdict));
    gone.forEach((card) => this.#drop(card));
    this.cards = this.cards.filter((card) => !gone.includes(card));
    this.fill();
  }

  #drop(card) {
    card.picture.drop();
    card.chips.forEach((chip) => chip.heatmap?.drop());
  }

  drop(card) {
    this.#drop(card);
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

  // With heat maps on also those of the questions that will be asked first.
  #pictures(card) {
    const asked = card.chips.filter((chip) => !chip.verdict && chip.heatmap).slice(0, 2);
    return this.heat ? [card.picture, ...asked.map((chip) => chip.heatmap)] : [card.picture];
  }

  async fill() {
    this.load();
    if (!this.#query || this.#fetching || this.#timer) return;
    if (this.exhausted || this.cards.length >= LOW) return;
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
    parameters.set("limit", FETCH);
    if (this.#cursor) parameters.set("after", this.#cursor);
    return `/api/queue?${parameters}`;
  }

  #receive({ cards, cursor, left, model_run_id: run }, underway) {
    this.#backoff.reset();
    this.problem = null;
    if (this.#changeRun(run)) return;
    const pending = this.#outbox.proposals;
    const isKnown = ({ proposal_id: id }) => underway.has(id) || pending.has(id) || this.#done.has(id) || this.has(id);
    const held = this.cards.length;
    for (const raw of cards.filter((card) => !isKnown(card))) {
      if (this.has(raw.proposal_id)) continue; // it came along with an earlier one of its picture
      this.cards.push(this.hold({ ...raw, others: (raw.others ?? []).filter((other) => !isKnown(other)) }));
    }
    if (left) this.#left = { ...left, queue: Math.max(0, left.queue - pending.size) };
    this.#turnPage(cursor, this.cards.length > held);
    this.load();
  }

  // At the end the front is asked for once more: cards that were passed by, leases that ran out.
  #turnPage(cursor, fresh) {
    const atFront = this.#cursor === null;
    this.#cursor = cursor;
    if (fresh) this.#again = false;
    if (cursor !== null) return;
    this.exhausted = !fresh && (atFront || this.#again);
    this.#again = true;
  }

  async #renew() {
    const proposals = this.cards.flatMap((card) => card.chips.filter((chip) => !chip.verdict)).map((chip) => chip.proposal_id);
    if (!proposals.length) return;
    try {
      const { lost } = await this.#api.post("/api/leases", { proposals });
      if (!lost.length) return;
      const taken = new Set(lost);
      const current = this.current;
      this.remove(taken);
      if (current && current !== this.current) this.onLost(current);
      this.onChange();
    } catch {
      // The next round tries again; the server tells when a card was decided meanwhile.
    }
  }

  // Proposals of an older model run are put aside, all but the card being looked at, and the new
  // queue begins at its front. Tells whether the answer is to be asked for again.
  #changeRun(run) {
    const changed = this.#run !== null && run !== null && run !== this.#run;
    this.#run = run ?? this.#run;
    if (!changed) return false;
    this.cards.splice(1).forEach((card) => this.#drop(card));
    const midway = this.#cursor !== null;
    this.#cursor = null;
    this.#again = false;
    return midway;
  }

  #watch(card) {
    for (const part of [card.picture, ...card.chips.map((chip) => chip.heatmap)].filter(Boolean)) {
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
