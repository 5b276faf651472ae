// Backoff: how long to wait before what failed is tried again.

const FIRST_RETRY = 500; // milliseconds
const LAST_RETRY = 15_000;

// Waiting times that double, with jitter so that many browsers do not come back at once.
export class Backoff {
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
