// Grid cells: one category's proposals as pictures; this page's and the next one's are held ready.

const GRID_PAGE = 60; // pictures asked for at once, and the least on a page
const GRID_LIMIT = 100; // of the route: what one batch may hold
const GRID_LOADING = 4; // at once; leaves connections free for verdicts
const GRID_SIZES = [240, 480, 960]; // of pictures, longest side in pixels

// The picture's address at another size.
function sized(path, size) {
  const [place, query = ""] = path.split("?");
  const parameters = new URLSearchParams(query);
  parameters.set("size", size);
  return `${place}?${parameters}`;
}

// The smallest size that fills so many pixels of the screen.
function sizeFor(pixels) {
  return GRID_SIZES.find((size) => size >= pixels) ?? GRID_SIZES.at(-1);
}

// A proposal and its place on the page. `mark` is "" (goes with the rest), "exception" or "skip".
class GridCell {
  #api;
  #size = 0;
  #sharper = null;
  mark = "";
  seen = false; // was on the screen with its picture
  gone = false; // somebody else has it now
  picture = null;
  element = null; // drawn once by the view
  onSettled = () => {};

  constructor(api, card, size) {
    this.#api = api;
    this.card = card;
    this.#hold(size);
  }

  get id() {
    return this.card.proposal_id;
  }

  get loading() {
    return [this.picture, this.#sharper].some((picture) => picture?.state === "loading");
  }

  get broken() {
    return this.picture.state === "failed";
  }

  // Starts what is missing of the picture at this size; tells whether there was anything.
  load(size) {
    if (this.picture.state === "idle") {
      this.#hold(size);
      this.picture.start();
      return true;
    }
    if (this.#size >= size || this.picture.state !== "ready" || this.#sharper) return false;
    this.#sharpen(size);
    return true;
  }

  drop() {
    this.picture.drop();
    this.#sharper?.drop();
    this.#sharper = null;
    this.element = null;
  }

  #hold(size) {
    this.#size = size;
    this.picture = new Picture(this.#api, sized(this.card.image_url, size));
    this.picture.onSettled = () => this.onSettled(this);
  }

  // The small picture stays until the larger one is there.
  #sharpen(size) {
    const sharper = new Picture(this.#api, sized(this.card.image_url, size));
    this.#sharper = sharper;
    sharper.onSettled = () => {
      if (sharper.state === "ready") {
        this.picture.drop();
        this.picture = sharper;
        this.#size = size;
        this.#sharper = null;
      }
      this.onSettled(this);
    };
    sharper.start();
  }
}

// Cells in the queue's order. The first `size` are the page; the others wait behind it.
class GridFeed {
  #api;
  #outbox;
  #query = "";
  #cursor = null;
  #round = 0; // answers to an earlier query are dropped
  #fetching = false;
  #timer = 0;
  #backoff = new Backoff();
  #done = new Set(); // proposals settled here since the queue was opened
  #run = null;
  #left = null; // { queue, category, all }
  #renewal = 0;
  #delivering = false; // the next pictures wait for the verdicts on the last ones
  cells = [];
  size = GRID_PAGE; // of the page
  thumb = GRID_SIZES[0]; // size of the pictures asked for
  exhausted = false;
  problem = null; // why the last fetch failed
  onChange = () => {}; // other cells are held
  onSettled = () => {}; // a cell looks different: its picture is there, or has failed …

  constructor(api, outbox) {
    this.#api = api;
    this.#outbox = outbox;
    this.#renewal = setInterval(() => this.#renew(), RENEW_EVERY);
  }

  close() {
    this.#round += 1;
    clearTimeout(this.#timer);
    clearInterval(this.#renewal);
    this.cells.forEach((cell) => cell.drop());
  }

  open(query) {
    this.#round += 1;
    this.cells.forEach((cell) => cell.drop());
    this.#query = query;
    this.#fetching = false;
    this.#cursor = null;
    this.#run = null;
    this.#left = null;
    this.#done.clear();
    this.cells = [];
    this.exhausted = false;
    this.retry();
  }

  retry() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.problem = null;
    this.fill();
  }

  get page() {
    return this.cells.slice(0, this.size);
  }

  // How many wait in this queue, of its category, in all; null while that is not known.
  get left() {
    if (!this.#left) return null;
    const held = this.cells.length;
    return { ...this.#left, queue: this.exhausted ? held : Math.max(this.#left.queue, held) };
  }

  #count(more) {
    for (const which of Object.keys(this.#left ?? {})) {
      if (this.#left[which] !== null) this.#left[which] = Math.max(0, this.#left[which] + more);
    }
  }

  // The page is decided: these leave it, and what stays comes first on the next one.
  settle(cells, size) {
    const gone = new Set(cells);
    for (const cell of cells) this.#done.add(cell.id);
    this.cells = this.cells.filter((cell) => !gone.has(cell));
    this.#count(-cells.length);
    this.size = size;
    this.#delivering = true;
    this.fill();
    this.#outbox.delivered().then(() => {
      this.#delivering = false;
      this.fill();
    });
  }

  // An earlier page again, exactly these cells.
  restore(page) {
    const back = new Set(page);
    for (const cell of page) this.#done.delete(cell.id);
    const others = this.cells.filter((cell) => !back.has(cell));
    this.#count(page.length + others.length - this.cells.length);
    this.cells = [...page, ...others];
    this.size = page.length;
    this.load();
  }

  // Decided elsewhere, or held by somebody else: on the page a cell says so and keeps its place.
  remove(proposals) {
    const page = new Set(this.page);
    for (const cell of this.cells.filter(({ id }) => proposals.has(id))) {
      this.#done.add(cell.id);
      cell.gone = true;
      if (page.has(cell)) this.onSettled(cell);
      else cell.drop();
    }
    this.cells = this.cells.filter((cell) => page.has(cell) || !cell.gone);
    this.fill();
  }

  async #renew() {
    const proposals = this.cells.filter((cell) => !cell.gone).map((cell) => cell.id);
    if (!proposals.length) return;
    try {
      const { lost } = await this.#api.post("/api/leases", { proposals });
      if (lost.length) this.remove(new Set(lost));
    } catch {
      // The next round tries again; the server tells what was decided meanwhile.
    }
  }

  // How many cells are to be here: the page, and the one behind it.
  get #wanted() {
    return this.size + (this.#delivering ? 0 : GRID_PAGE);
  }

  // Start the next pictures of this page and the one behind it, a few at a time and in order.
  load() {
    const wanted = this.cells.slice(0, this.#wanted);
    let loading = wanted.filter((cell) => cell.loading).length;
    for (const cell of wanted) {
      if (loading >= GRID_LOADING) return;
      if (cell.load(this.thumb)) loading += 1;
    }
  }

  async fill() {
    this.load();
    if (!this.#query || this.#fetching || this.#timer) return;
    if (this.exhausted || this.cells.length >= this.#wanted) return;
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
    parameters.set("limit", GRID_PAGE);
    if (this.#cursor) parameters.set("after", this.#cursor);
    return `/api/queue?${parameters}`;
  }

  #receive({ cards, cursor, left, model_run_id: run }, underway) {
    this.#backoff.reset();
    this.problem = null;
    this.#changeRun(run);
    const known = new Set([...underway, ...this.#outbox.proposals, ...this.#done, ...this.cells.map(({ id }) => id)]);
    const fresh = cards.filter(({ proposal_id: id }) => !known.has(id));
    this.cells.push(...fresh.map((card) => this.#hold(card)));
    this.#cursor = cursor;
    this.exhausted = cursor === null;
    if (left) this.#left = { ...left, queue: Math.max(0, left.queue - this.#outbox.proposals.size) };
    this.load();
  }

  // Proposals of an older model run are put aside, all but the page being looked at.
  #changeRun(run) {
    if (this.#run !== null && run !== null && run !== this.#run) {
      this.cells.splice(this.size).forEach((cell) => cell.drop());
    }
    this.#run = run ?? this.#run;
  }

  #hold(card) {
    const cell = new GridCell(this.#api, card, this.thumb);
    cell.onSettled = () => {
      this.load();
      this.onSettled(cell);
    };
    return cell;
  }

  #failed(error) {
    if (!(error instanceof CallError)) console.error(error);
    this.problem = error;
    if (error.kind !== "expired" && error.kind !== "refused") {
      this.#timer = setTimeout(() => this.retry(), this.#backoff.next());
    }
  }
}
