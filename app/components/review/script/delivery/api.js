// Api: the HTTP routes as one annotator calls them, and why a call failed.

import { Tab } from "./tab.js";

const CALL_LIMIT = 20_000; // milliseconds; a connection that hangs longer counts as lost
const ASK_AGAIN = 10_000; // between two requests for a fresh token

// kind: "expired" (token), "refused" (will never work), "busy" (server), "unreachable" (network).
export class CallError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

// The HTTP routes, called with the annotator's token.
export class Api {
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
