// Grid's large view: a picture beside the pointer, or over the whole page.

import { make } from "../dom.js";
import { Picture, sized } from "../queue/picture.js";
import { SIZES } from "./cells.js";

const PEEK_GAP = 12; // pixels between a picture and its large view, and inside it
const PEEK_WIDEST = 560;
const PEEK_LEAST = 240;
const PEEK_WORDS = 200; // pixels kept for what stands below

export class LargeView {
  #parts;
  #api;
  #pictures = new Map(); // cell -> its large picture: the one shown and its neighbours
  cell = null;
  open = false; // over the page, until it is closed; else only while the pointer rests

  constructor(parts, api) {
    this.#parts = parts;
    this.#api = api;
  }

  get root() {
    return this.#parts.gridLarge;
  }

  // `words`: what the view says of the cell.
  show(cell, words, neighbours) {
    this.open = true;
    this.#fill(cell, words, neighbours);
    this.root.removeAttribute("style");
    this.#parts.gridLargePicture.removeAttribute("style");
  }

  // Beside the picture, where there is more room; as large as that leaves.
  peek(cell, words, { left, right, top, bottom }) {
    if (this.open) return;
    this.#fill(cell, words, []);
    const { root } = this;
    const { gridLargePicture: frame } = this.#parts;
    const { naturalWidth: width, naturalHeight: height } = cell.picture.element ?? {};
    const toRight = window.innerWidth - right > left;
    const room = Math.min(PEEK_WIDEST, (toRight ? window.innerWidth - right : left) - 4 * PEEK_GAP);
    const scale = Math.min(room / (width || 4), (window.innerHeight - PEEK_WORDS) / (height || 3));
    frame.style.height = `${scale * (height || 3)}px`;
    root.style.width = `${Math.max(PEEK_LEAST, scale * (width || 4)) + 2 * PEEK_GAP}px`;
    const y = Math.min((top + bottom - root.offsetHeight) / 2, window.innerHeight - root.offsetHeight - PEEK_GAP);
    root.style.top = `${Math.max(PEEK_GAP, y)}px`;
    root.style.left = `${toRight ? right + PEEK_GAP : left - PEEK_GAP - root.offsetWidth}px`;
  }

  #fill(cell, words, neighbours) {
    const { root } = this;
    this.cell = cell;
    root.dataset.kind = this.open ? "open" : "peek";
    if (!root.matches(":popover-open")) root.showPopover();
    this.#load([cell, ...neighbours]);
    this.words(words);
    this.#draw();
  }

  words({ name, facts, known, verdict }) {
    const part = this.#parts;
    this.root.dataset.verdict = verdict;
    part.gridLargeName.textContent = name;
    part.gridLargeFacts.textContent = facts;
    part.gridLargeKnown.replaceChildren(...known.flatMap((chip) => [chip, " "]));
    const buttons = { present: part.gridLargeThere, absent: part.gridLargeNotThere, skip: part.gridLargeLeave };
    for (const [state, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(state === verdict));
  }

  close() {
    this.open = false;
    this.cell = null;
    if (this.root.matches(":popover-open")) this.root.hidePopover();
    this.#load([]);
    this.#parts.gridLargePicture.replaceChildren();
  }

  #load(cells) {
    for (const [cell, picture] of this.#pictures) {
      if (cells.includes(cell)) continue;
      picture.drop();
      this.#pictures.delete(cell);
    }
    for (const cell of cells.filter((other) => !this.#pictures.has(other))) {
      const picture = new Picture(this.#api, sized(cell.card.image_url, SIZES.at(-1)));
      picture.onSettled = () => {
        if (this.cell === cell) this.#draw();
      };
      this.#pictures.set(cell, picture);
      picture.start();
    }
  }

  // The thumbnail stands in until the large picture is there.
  #draw() {
    const picture = this.#pictures.get(this.cell);
    const { gridLargePicture: frame } = this.#parts;
    if (picture.state === "ready") frame.replaceChildren(picture.element);
    else if (picture.state === "failed") frame.replaceChildren(make("p", `This picture cannot be shown. ${picture.problem}`));
    else if (this.cell.picture.state === "ready") frame.replaceChildren(this.cell.picture.element.cloneNode());
    else frame.replaceChildren(make("p", "Loading the picture …"));
  }
}
