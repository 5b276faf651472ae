// Grid's pointer: mouse, pen and finger over the cells.

const PEEK_AFTER = 300; // milliseconds of rest on a picture
const HOLD_AFTER = 500; // of a finger on a picture

export class GridPointer {
  #cells;
  #on;
  #rest = 0;
  #hold = 0;
  #near = null; // the cell that the pointer was moved over last
  #pending = null; // the cell that a finger rests on
  #held = false; // the finger opened the large view: its lifting is no tap

  // on: click(element, event), rest(element), leave(), hold(element)
  constructor(cells, on) {
    this.#cells = cells;
    this.#on = on;
    const listen = (type, act) => cells.addEventListener(type, (event) => act(event, this.#cell(event)));
    listen("click", (event, cell) => this.#clicked(event, cell));
    listen("pointerover", (event, cell) => {
      if (cell !== this.#near) this.stop();
    });
    // Pictures that come under a pointer at rest are not what it points at: only moving counts.
    listen("pointermove", (event, cell) => this.#moved(event, cell));
    listen("pointerdown", (event, cell) => this.#down(event, cell));
    listen("contextmenu", (event) => this.#menu(event));
    for (const type of ["pointerup", "pointercancel"]) listen(type, () => this.#lifted());
    for (const type of ["pointerleave", "scroll"]) listen(type, () => this.stop());
  }

  // Nothing is pointed at any more.
  stop() {
    this.#near = null;
    clearTimeout(this.#rest);
    this.#lifted();
    this.#on.leave();
  }

  #cell({ target }) {
    return target.closest("[role=gridcell]");
  }

  #clicked(event, cell) {
    const held = this.#held;
    this.#held = false;
    clearTimeout(this.#rest);
    if (cell && !held) this.#on.click(cell, event);
  }

  #moved({ pointerType }, cell) {
    if (!cell || cell === this.#near) return;
    if (pointerType === "touch" || !window.matchMedia("(hover: hover)").matches) return;
    this.#near = cell;
    this.#rest = setTimeout(() => this.#on.rest(cell), PEEK_AFTER);
  }

  #down({ pointerType }, cell) {
    this.#held = false;
    clearTimeout(this.#rest);
    if (!cell || pointerType === "mouse") return;
    this.#pending = cell;
    this.#hold = setTimeout(() => this.#opens(), HOLD_AFTER);
  }

  #opens() {
    const cell = this.#pending;
    this.#lifted();
    this.#held = true;
    this.#on.hold(cell);
  }

  // A long touch asks for the browser's menu at about the same time; the large view is meant.
  #menu(event) {
    if (this.#pending) this.#opens();
    if (this.#held) event.preventDefault();
  }

  #lifted() {
    clearTimeout(this.#hold);
    this.#pending = null;
  }
}
