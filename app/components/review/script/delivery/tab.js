// Tab: random ids, and the one of this tab.

// A random UUID; crypto.randomUUID is missing on plain http pages.
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// The id of this tab: the same over reloads, another one in a duplicated tab. What one tab shows,
// another one of the same person is not given.
export class Tab {
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
