// Picture: loaded and decoded ahead of time.

import { CallError } from "../delivery/api.js";
import { Backoff } from "../delivery/backoff.js";

// The picture's address at another size: its longest side in pixels.
export function sized(path, size) {
  const [place, query = ""] = path.split("?");
  const parameters = new URLSearchParams(query);
  parameters.set("size", size);
  return `${place}?${parameters}`;
}

// One that is ready is drawn in the same frame.
export class Picture {
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

  get loading() {
    return this.state === "loading";
  }

  // Starts what has not been started; tells whether there was anything.
  load() {
    if (this.state !== "idle") return false;
    this.start();
    return true;
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
