// What the page's modules need of a browser, so that Node can run them, and a server to talk to.

import { setMaxListeners } from "node:events";
import { mock } from "node:test";

mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });

// As in a browser: methods are not among the keys, what is stored is.
function storage() {
  return Object.create({
    getItem(key) {
      return Object.hasOwn(this, key) ? this[key] : null;
    },
    setItem(key, value) {
      this[key] = String(value);
    },
    removeItem(key) {
      delete this[key];
    },
  });
}

// Locks belong to a tab; closeTab() lets go of all that were taken since the last one.
const held = new Set();
let mine = [];

async function request(name, options, act) {
  if (typeof options === "function") return request(name, {}, options);
  await null; // never in the caller's own turn
  if (held.has(name)) return options.ifAvailable ? act(null) : new Promise(() => {});
  held.add(name);
  mine.push(name);
  await act({ name });
  held.delete(name);
}

export function closeTab() {
  for (const name of mine) held.delete(name);
  mine = [];
}

// An element is known by the alternatives of a selector that it is meant to match.
export class FakeElement {
  isContentEditable = false;

  constructor(...matching) {
    this.matching = matching;
  }

  matches(selector) {
    return selector.split(",").some((one) => this.matching.includes(one));
  }
}

class FakeImage {
  draggable = true;

  async decode() {
    if (FakeImage.broken.has(this.src)) throw new Error("not a picture");
  }

  removeAttribute(name) {
    delete this[name];
  }
}
FakeImage.broken = new Set();
export { FakeImage };

Object.defineProperty(globalThis, "navigator", { value: { locks: { request } }, configurable: true });
Object.assign(globalThis, {
  localStorage: storage(),
  sessionStorage: storage(),
  window: new EventTarget(),
  document: new EventTarget(),
  Element: FakeElement,
  Image: FakeImage,
});

setMaxListeners(0, window, document); // many outboxes live in one test file

// Lets everything happen that waits for nothing but a turn.
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

// Time passes, and what it brings happens.
export async function pass(milliseconds) {
  for (let gone = 0; gone < milliseconds; gone += 250) {
    mock.timers.tick(250);
    await settle();
  }
}

// The same numbers for the same seed (Mulberry32).
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function json(status, content) {
  return new Response(JSON.stringify(content), { status, headers: { "Content-Type": "application/json" } });
}

// The routes by path; each gets the address and what was sent.
export function serve(routes) {
  globalThis.fetch = async (address, { body, headers } = {}) => {
    const url = new URL(address, "http://localhost");
    const route = routes[url.pathname];
    if (!route) return json(404, { error: `no route ${url.pathname}` });
    return route(url, body ? JSON.parse(body) : null, headers);
  };
}
