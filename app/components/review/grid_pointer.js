// Grid's pointer: mouse, pen and finger over the cells.

const PEEK_AFTER = 300; // milliseconds of rest on a picture
const HOLD_AFTER = 500; // of a finger on a picture

class GridPointer {
  #cells;
  #on;
  #rest = 0;
  #hold = 0;
  #held = false; // the finger opened the large view: its lifting is no tap

  // on: click(element, event), rest(element), leave(), hold(element)
  constructor(cells, on) {
    this.#cells = cells;
    this.#on = on;
    const listen = (type, act) => cells.addEventListener(type, (event) => act(event, this.#cell(event)));
    listen("click", (event, cell) => this.#clicked(event, cell));
    listen("pointerover", (event, cell) => {
      if (cell !== this.#cell({ target: event.relatedTarget })) this.#over(event, cell);
    });
    listen("pointerdown", (event, cell) => this.#down(event, cell));
    for (const type of ["pointerup", "pointercancel", "pointerleave"]) listen(type, () => this.#lifted(type));
    listen("contextmenu", (event) => {
      if (this.#held) event.preventDefault();
    });
    cells.addEventListener("scroll", () => this.stop());
  }

  stop() {
    clearTimeout(this.#rest);
    clearTimeout(this.#hold);
    this.#on.leave();
  }

  #cell({ target }) {
    return target?.closest?.("[role=gridcell]") ?? null;
  }

  #clicked(event, cell) {
    const held = this.#held;
    this.#held = false;
    clearTimeout(this.#rest);
    if (cell && !held) this.#on.click(cell, event);
  }

  #over({ pointerType }, cell) {
    if (pointerType === "touch" || !window.matchMedia("(hover: hover)").matches) return;
    this.stop();
    if (cell) this.#rest = setTimeout(() => this.#on.rest(cell), PEEK_AFTER);
  }

  #down({ pointerType }, cell) {
    this.#held = false;
    clearTimeout(this.#rest);
    if (!cell || pointerType === "mouse") return;
    this.#hold = setTimeout(() => {
      this.#held = true;
      this.#on.hold(cell);
    }, HOLD_AFTER);
  }

  #lifted(type) {
    clearTimeout(this.#hold);
    if (type === "pointerleave") this.stop();
  }
}
