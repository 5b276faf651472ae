// Shelf: what the outbox holds, kept in the browser's storage over reloads and restarts.

import { newId } from "./tab.js";

const HEARTBEAT = 5_000; // milliseconds
const DEAD_AFTER = 90_000; // browsers slow hidden tabs' timers to once a minute

// The outbox's copy in localStorage. Each tab has its own place there, marked as alive by a web
// lock (or a heartbeat where locks are missing); places of dead tabs are adopted. Should two tabs
// ever send the same verdict, its client id makes the second one a duplicate.
export class Shelf {
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

  // What dead tabs left is handed to keep(operations), which saves it; only then is it theirs no more.
  async adopt(keep) {
    for (const key of this.#others()) {
      if (navigator.locks) await navigator.locks.request(key, { ifAvailable: true }, (lock) => lock && this.#take(key, keep));
      else if (this.#isDead(key)) this.#take(key, keep);
    }
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

  #take(key, keep) {
    try {
      const left = JSON.parse(localStorage.getItem(key) ?? "[]");
      const operations = Array.isArray(left) ? left.filter((operation) => operation?.client_id) : [];
      if (operations.length) keep(operations);
      localStorage.removeItem(key);
      localStorage.removeItem(`${key}:alive`);
    } catch {
      // Not ours, damaged, or storage is forbidden.
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
