// Delivery: how verdicts reach the server. Nothing leaves the outbox before the server answered it.

const FIRST_RETRY = 500; // milliseconds
const LAST_RETRY = 15_000;
const CALL_LIMIT = 20_000; // a connection that hangs longer counts as lost
const ASK_AGAIN = 10_000; // between two requests for a fresh token
const BATCH = 100;
const DELIVERED_LIMIT = 1_000; // milliseconds that anything else waits for verdicts
const ADOPT_EVERY = 10_000; // look for verdicts that closed tabs left behind
const HEARTBEAT = 5_000;
const DEAD_AFTER = 90_000; // browsers slow hidden tabs' timers to once a minute

// A random UUID; crypto.randomUUID is missing on plain http pages.
function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// Waiting times that double, with jitter so that many browsers do not come back at once.
class Backoff {
  #failures = 0;

  next() {
    const delay = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** this.#failures);
    this.#failures += 1;
    return delay * (0.8 + 0.2 * Math.random());
  }

  reset() {
    this.#failures = 0;
  }
}

// The id of this tab: the same over reloads, another one in a duplicated tab. What one tab shows,
// another one of the same person is not given.
class Tab {
  static #key = "clsl-review-tab";
  static id = "";
  static ready = Tab.#claim();

  static async #claim() {
    let id = newId();
    try {
      id = sessionStorage.getItem(Tab.#key) ?? id;
    } catch {
      // Storage is forbidden: an id for this page alone.
    }
    if (navigator.locks && !(await Tab.#hold(id))) {
      id = newId();
      await Tab.#hold(id);
    }
    try {
      sessionStorage.setItem(Tab.#key, id);
    } catch {
      // As above.
    }
    Tab.id = id;
  }

  // Kept until the page is gone; false when another tab has it.
  static #hold(id) {
    return new Promise((resolve) => {
      navigator.locks.request(`clsl-review-tab:${id}`, { ifAvailable: true }, (lock) => {
        resolve(Boolean(lock));
        return lock ? new Promise(() => {}) : null;
      });
    });
  }
}

// kind: "expired" (token), "refused" (will never work), "busy" (server), "unreachable" (network).
class CallError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

// The HTTP routes, called with the annotator's token.
class Api {
  #base = "";
  #token = null;
  #askTimer = 0;
  expired = false;
  askForToken = () => {};
  onRenewed = new Set();

  configure(base, token) {
    this.#base = base;
    if (token === this.#token) return;
    this.#token = token;
    this.expired = false;
    clearTimeout(this.#askTimer);
    for (const renewed of [...this.onRenewed]) renewed();
  }

  // Pictures are plain <img> elements, which cannot send a header.
  pictureUrl(path) {
    return `${this.#base}${path}${path.includes("?") ? "&" : "?"}token=${encodeURIComponent(this.#token)}`;
  }

  get(path) {
    return this.#json(path, {});
  }

  post(path, body) {
    const headers = { "Content-Type": "application/json" };
    return this.#json(path, { method: "POST", headers, body: JSON.stringify(body), keepalive: true });
  }

  // Said while the page goes away; nobody waits for the answer.
  farewell(path, body) {
    const headers = { "Content-Type": "application/json", "X-CLSL-Token": this.#token, "X-CLSL-Client": Tab.id };
    fetch(this.#base + path, { method: "POST", headers, body: JSON.stringify(body), keepalive: true }).catch(() => {});
  }

  // Why an <img> failed: resolves when the picture is there after all, else throws a CallError.
  async probe(path) {
    const response = await this.#fetch(path, {});
    await response.body?.cancel();
  }

  async #json(path, options) {
    const response = await this.#fetch(path, options);
    try {
      return await response.json();
    } catch {
      throw new CallError("busy", "The server's answer was cut short.");
    }
  }

  async #fetch(path, { headers = {}, ...options }) {
    await Tab.ready;
    const token = this.#token;
    let response;
    try {
      response = await fetch(this.#base + path, {
        ...options,
        headers: { ...headers, "X-CLSL-Token": token, "X-CLSL-Client": Tab.id },
        signal: AbortSignal.timeout(CALL_LIMIT),
        cache: "no-store",
      });
    } catch {
      throw new CallError("unreachable", "The server cannot be reached.");
    }
    if (response.ok) return response;
    if (response.status === 401) this.#expire(token);
    throw await this.#problem(response);
  }

  // Only our own routes answer {"error": …}; a proxy's 404 page must not throw a verdict away.
  async #problem(response) {
    const { status } = response;
    const said = await response.json().then((content) => content?.error, () => null);
    if (status === 401) return new CallError("expired", said || "The sign-in has expired.");
    const final = status >= 400 && status < 500 && status !== 408 && status !== 429 && said;
    return new CallError(final ? "refused" : "busy", said || `The server answered ${status}.`);
  }

  #expire(token) {
    if (token !== this.#token || this.expired) return;
    this.expired = true;
    this.#ask();
  }

  #ask() {
    this.askForToken();
    this.#askTimer = setTimeout(() => this.#ask(), ASK_AGAIN);
  }
}

// The outbox's copy in localStorage. Each tab has its own place there, marked as alive by a web
// lock (or a heartbeat where locks are missing); places of dead tabs are adopted. Should two tabs
// ever send the same verdict, its client id makes the second one a duplicate.
class Shelf {
  #prefix;
  #key;

  constructor(scope) {
    this.#prefix = `clsl-review:${scope}:`;
    this.#key = this.#prefix + newId();
    if (navigator.locks) navigator.locks.request(this.#key, () => new Promise(() => {}));
    else this.#beat();
  }

  save(operations) {
    try {
      if (operations.length) localStorage.setItem(this.#key, JSON.stringify(operations));
      else localStorage.removeItem(this.#key);
    } catch {
      // Storage is full or forbidden: memory, retries and the warning on leaving remain.
    }
  }

  async adopt() {
    const found = [];
    for (const key of this.#others()) {
      if (!navigator.locks) found.push(...this.#take(key, this.#isDead(key)));
      else
        await navigator.locks.request(key, { ifAvailable: true }, (lock) => {
          found.push(...this.#take(key, lock));
        });
    }
    return found;
  }

  #others() {
    try {
      return Object.keys(localStorage).filter(
        (key) => key.startsWith(this.#prefix) && key !== this.#key && !key.endsWith(":alive"),
      );
    } catch {
      return [];
    }
  }

  #take(key, mayTake) {
    if (!mayTake) return [];
    try {
      const operations = JSON.parse(localStorage.getItem(key) ?? "[]");
      localStorage.removeItem(key);
      localStorage.removeItem(`${key}:alive`);
      return Array.isArray(operations) ? operations.filter((operation) => operation?.client_id) : [];
    } catch {
      return [];
    }
  }

  #isDead(key) {
    return Date.now() - Number(localStorage.getItem(`${key}:alive`) ?? 0) > DEAD_AFTER;
  }

  #beat() {
    const mark = () => {
      try {
        localStorage.setItem(`${this.#key}:alive`, String(Date.now()));
      } catch {
        // As in save().
      }
    };
    mark();
    setInterval(mark, HEARTBEAT);
    window.addEventListener("pagehide", () => localStorage.removeItem(`${this.#key}:alive`));
    window.addEventListener("pageshow", mark);
  }
}

// Where each kind of operation goes. The server knows every one by its client_id.
const OUTBOX_ROUTES = {
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
class Outbox {
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

  async #adopt() {
    const found = await this.#shelf.adopt();
    if (!found.length) return;
    // Pages of earlier versions wrote down no kind.
    const named = found.map((operation) => ({ kind: operation.undoes ? "undo" : "decide", ...operation }));
    this.#operations.unshift(...named);
    this.#changed();
    this.onAdopted();
    this.#send();
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
    const route = OUTBOX_ROUTES[first.kind];
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
