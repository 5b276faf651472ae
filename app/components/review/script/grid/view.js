// Grid view: the cells on the page, the words above them, the large view. Text is never markup.

import { make, partsOf } from "../dom.js";
import { article, belief, certainty, COUNT, opposite, SAID, SIGNS } from "../words.js";
import { sizeFor } from "./cells.js";
import { LargeView } from "./large.js";
import { GridPointer } from "./pointer.js";

const TILE_KEY = "clsl-grid-size";
const TILE = 104; // pixels, the least width of a cell until somebody moves the slider
const GAP = 8; // pixels between cells

// The slider's last position, in this browser.
const tileSize = {
  get() {
    try {
      return Number(localStorage.getItem(TILE_KEY)) || TILE;
    } catch {
      return TILE;
    }
  },
  set(pixels) {
    try {
      localStorage.setItem(TILE_KEY, String(pixels));
    } catch {
      // Storage is forbidden: the size holds until the page is left.
    }
  },
};

export class GridView {
  scoreWord = "probability";
  #parts;
  #buttons = {};
  #cells = new Map(); // element -> cell, of the page
  #order = []; // cells of the page
  #columns = 1;
  #rest = "present"; // what is said of the pictures without a mark
  #watcher;
  #observer;
  #pointer;
  onSeen = () => {}; // a cell came on the screen, or left it
  onResize = () => {};

  // on: rest(state), turn(cell, event), say(cell, mark), move(step), close(), peek(cell), unpeek(), open(cell)
  constructor(mount, template, api, on) {
    const root = template.content.firstElementChild.cloneNode(true);
    mount.append(root);
    this.#parts = partsOf(root);
    this.#listen(root, on);
    this.large = new LargeView(this.#parts, api);
    this.#watcher = new IntersectionObserver((entries) => this.#watched(entries), { threshold: 0.5 });
    this.#observer = new ResizeObserver(() => this.#fit());
    this.#observer.observe(this.#parts.gridCells);
    this.#tile(tileSize.get());
  }

  get root() {
    return this.#parts.grid;
  }

  get columns() {
    return this.#columns;
  }

  get scroll() {
    return this.#parts.gridCells.scrollTop;
  }

  set scroll(top) {
    this.#parts.gridCells.scrollTop = top;
  }

  close() {
    this.#watcher.disconnect();
    this.#observer.disconnect();
    this.#pointer.stop();
    this.large.close();
    this.root.remove();
  }

  #listen(root, on) {
    const actions = {
      present: () => on.rest("present"),
      absent: () => on.rest("absent"),
      previous: () => on.move(-1),
      next: () => on.move(1),
      there: () => on.say(this.large.cell, "present"),
      notThere: () => on.say(this.large.cell, "absent"),
      leave: () => on.say(this.large.cell, "skip"),
      close: () => on.close(),
    };
    for (const button of root.querySelectorAll("[data-grid]")) {
      this.#buttons[button.dataset.grid] = button;
      button.addEventListener("click", (event) => {
        if (event.detail > 0) button.blur(); // the keys belong to the pictures again
        actions[button.dataset.grid]();
      });
    }
    const { gridCells, gridLargePicture, gridSize } = this.#parts;
    gridSize.addEventListener("input", () => this.#tile(gridSize.valueAsNumber));
    gridSize.addEventListener("change", () => tileSize.set(gridSize.valueAsNumber));
    gridSize.addEventListener("pointerup", () => gridSize.blur());
    // The finger that opened the large view lifts over it: that is no click on it.
    let pressed = false;
    gridLargePicture.addEventListener("pointerdown", () => (pressed = true));
    gridLargePicture.addEventListener("click", () => {
      if (pressed) on.close();
      pressed = false;
    });
    this.#pointer = new GridPointer(gridCells, {
      click: (element, event) => on.turn(this.#cells.get(element), event),
      rest: (element) => on.peek(this.#cells.get(element)),
      hold: (element) => on.open(this.#cells.get(element)),
      leave: () => on.unpeek(),
    });
  }

  #tile(pixels) {
    this.#parts.gridSize.value = String(pixels);
    this.root.style.setProperty("--tile", `${pixels}px`);
    this.#fit();
  }

  #fit() {
    const columns = getComputedStyle(this.#parts.gridCells).gridTemplateColumns.split(" ").length;
    if (columns !== this.#columns) {
      this.#columns = columns;
      this.#row();
    }
    this.onResize();
  }

  // How many pictures are on the screen at once.
  get capacity() {
    const { gridCells } = this.#parts;
    const [first] = this.#order;
    const high = first ? first.element.offsetHeight : 0;
    return high ? this.#columns * Math.floor((gridCells.clientHeight + GAP) / (high + GAP)) : 0;
  }

  // The size of thumbnail that a cell shows without blur.
  get thumb() {
    const [first] = this.#order;
    const wide = first?.element.offsetWidth || tileSize.get();
    return Math.min(480, sizeFor(0.9 * wide * (window.devicePixelRatio || 1)));
  }

  question(category, rest) {
    const part = this.#parts;
    this.#rest = rest;
    const other = opposite(rest);
    part.gridQuestion.replaceChildren(`Is there ${article(category)} `, make("strong", category), " in these pictures?");
    part.gridHint.textContent = `Stored as ${SIGNS[rest]} ${rest}, all but those you turn to ${SIGNS[other]} ${other}.`;
    part.gridCells.setAttribute("aria-label", `Pictures to check for ${category}`);
    part.grid.dataset.rest = rest;
    this.#buttons.present.setAttribute("aria-pressed", String(rest === "present"));
    this.#buttons.absent.setAttribute("aria-pressed", String(rest === "absent"));
  }

  // The page's cells; each is drawn once and kept as long as its cell.
  page(cells) {
    if (cells.length === this.#order.length && cells.every((cell, at) => cell === this.#order[at])) return;
    this.#watcher.disconnect();
    this.#pointer.stop();
    this.#order = cells;
    this.#cells.clear();
    for (const cell of cells) {
      cell.element ??= this.#make();
      cell.visible = false;
      this.#cells.set(cell.element, cell);
      this.picture(cell);
      this.mark(cell);
    }
    this.#row();
    for (const cell of cells) this.#watcher.observe(cell.element);
  }

  #make() {
    const element = make("div", "", "grid-cell");
    element.setAttribute("role", "gridcell");
    element.tabIndex = -1;
    const badge = make("span", "", "grid-badge");
    badge.setAttribute("aria-hidden", "true");
    element.append(make("span", "", "grid-picture"), make("span", "", "grid-cell-note"), badge);
    return element;
  }

  // Rows carry no layout; they tell a screen reader what stands beside and below.
  #row() {
    const { gridCells } = this.#parts;
    const focused = this.#focused();
    const rows = [];
    for (let at = 0; at < this.#order.length; at += this.#columns) {
      const row = make("div", "", "grid-row");
      row.setAttribute("role", "row");
      row.append(...this.#order.slice(at, at + this.#columns).map((cell) => cell.element));
      rows.push(row);
    }
    gridCells.replaceChildren(...rows);
    focused?.focus({ preventScroll: true });
  }

  #focused() {
    const active = this.root.getRootNode().activeElement;
    return this.#cells.has(active) ? active : null;
  }

  #watched(entries) {
    for (const { target, isIntersecting } of entries) {
      const cell = this.#cells.get(target);
      if (cell) cell.visible = isIntersecting;
    }
    this.onSeen();
  }

  picture(cell) {
    const [frame, note] = cell.element.children;
    const { state, element } = cell.picture;
    cell.element.dataset.state = cell.gone ? "gone" : state;
    if (state === "ready" && frame.firstChild !== element) frame.replaceChildren(element);
    note.textContent = cell.gone ? "Decided or held by somebody else" : state === "failed" ? "Cannot be shown, stays undecided" : "";
  }

  mark(cell) {
    const { element, mark, card } = cell;
    const verdict = mark || this.#rest;
    const stored = cell.gone || cell.broken ? element.children[1].textContent : SAID[verdict];
    element.dataset.mark = mark;
    element.dataset.verdict = verdict;
    element.setAttribute("aria-selected", String(verdict === "present"));
    element.setAttribute("aria-label", `${card.file_name}, ${this.#certainty(card)}, ${stored}`);
    element.children[2].textContent = SIGNS[verdict];
  }

  #certainty(card) {
    const { word, text } = certainty(card, this.scoreWord);
    return `${word} ${text}`;
  }

  // The one cell that the tab key reaches.
  current(cell) {
    for (const other of this.#order) other.element.tabIndex = other === cell ? 0 : -1;
  }

  // Whoever clicks sees the picture: only keys scroll, lest it slip away from under the pointer.
  focus(cell, scroll) {
    cell.element.focus({ preventScroll: true });
    if (scroll) cell.element.scrollIntoView({ block: "nearest" });
  }

  // Whether the keyboard is here, or nowhere.
  get isFocusFree() {
    const outer = document.activeElement;
    return !outer || outer === document.body || outer === this.root.getRootNode().host;
  }

  summary({ button, note, left, enabled }) {
    const part = this.#parts;
    part.gridApply.textContent = button;
    part.gridNote.textContent = note;
    part.gridLeft.textContent = left ? COUNT.format(left.queue) : "–";
    part.gridButton.disabled = !enabled;
  }

  words(cell) {
    const { card, mark } = cell;
    const verdict = mark || this.#rest;
    const said = [this.#certainty(card), ...belief(card)];
    if (card.flag) said.push(`flagged by ${card.flag.annotator}${card.flag.comment ? `: ${card.flag.comment}` : ""}`);
    said.push(`Will be stored: ${SIGNS[verdict]} ${SAID[verdict]}`);
    return { name: card.file_name, facts: said.join(" · "), known: this.#known(card.known ?? []), verdict };
  }

  #known(known) {
    return known.map(({ category, state, source }) => {
      const chip = make("span", `${SIGNS[state]} ${category}`, "grid-chip");
      chip.title = `${state} (${source})`;
      return chip;
    });
  }

  place(cell) {
    return cell.element.getBoundingClientRect();
  }

  speak(text) {
    this.#parts.gridSpoken.textContent = text;
  }
}
