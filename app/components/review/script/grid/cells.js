// Grid cells: one category's proposals as pictures; this page's and the next one's are held ready.

import { Feed } from "../queue/feed.js";
import { Picture, sized } from "../queue/picture.js";

export const PAGE = 60; // pictures asked for at once, and the least on a page
export const SIZES = [240, 480, 960]; // of pictures, longest side in pixels

// The smallest size that fills so many pixels of the screen.
export function sizeFor(pixels) {
  return SIZES.find((size) => size >= pixels) ?? SIZES.at(-1);
}

// A proposal and its place on the page. `mark` is what somebody said of it:
// "present", "absent" or "skip"; "" goes with the rest.
class GridCell {
  #api;
  #size = 0;
  #sharper = null;
  mark = "";
  seen = false; // was on the screen with its picture
  gone = false; // somebody else has it now
  picture = null;
  element = null; // drawn once by the view
  onSettled = () => {};

  constructor(api, card, size) {
    this.#api = api;
    this.card = card;
    this.#hold(size);
  }

  get id() {
    return this.card.proposal_id;
  }

  get loading() {
    return [this.picture, this.#sharper].some((picture) => picture?.state === "loading");
  }

  get broken() {
    return this.picture.state === "failed";
  }

  // Starts what is missing of the picture at this size; tells whether there was anything.
  load(size) {
    if (this.picture.state === "idle") {
      this.#hold(size);
      this.picture.start();
      return true;
    }
    if (this.#size >= size || this.picture.state !== "ready" || this.#sharper) return false;
    this.#sharpen(size);
    return true;
  }

  drop() {
    this.picture.drop();
    this.#sharper?.drop();
    this.#sharper = null;
    this.element = null;
  }

  #hold(size) {
    this.#size = size;
    this.picture = new Picture(this.#api, sized(this.card.image_url, size));
    this.picture.onSettled = () => this.onSettled(this);
  }

  // The small picture stays until the larger one is there.
  #sharpen(size) {
    const sharper = new Picture(this.#api, sized(this.card.image_url, size));
    this.#sharper = sharper;
    sharper.onSettled = () => {
      if (sharper.state === "ready") {
        this.picture.drop();
        this.picture = sharper;
        this.#size = size;
        this.#sharper = null;
      }
      this.onSettled(this);
    };
    sharper.start();
  }
}

// Cells in the queue's order. The first `size` are the page; the others wait behind it.
export class GridFeed extends Feed {
  #api;
  #outbox;
  #delivering = false; // the next pictures wait for the verdicts on the last ones
  size = PAGE; // of the page
  thumb = SIZES[0];
  onSettled = () => {}; // a cell looks different: its picture is there, or has failed …

  constructor(api, outbox) {
    super(api, outbox, PAGE);
    this.#api = api;
    this.#outbox = outbox;
  }

  get page() {
    return this.items.slice(0, this.size);
  }

  // The page is decided: these leave it, and what stays comes first on the next one.
  settle(cells, size) {
    const gone = new Set(cells);
    for (const cell of cells) this.done.add(cell.id);
    this.items = this.items.filter((cell) => !gone.has(cell));
    this.count(-cells.length);
    this.size = size;
    this.#delivering = true;
    this.fill();
    this.#outbox.delivered().then(() => {
      this.#delivering = false;
      this.fill();
    });
  }

  // An earlier page again, exactly these cells.
  restore(page) {
    const back = new Set(page);
    for (const cell of page) this.done.delete(cell.id);
    const others = this.items.filter((cell) => !back.has(cell));
    this.count(page.length + others.length - this.items.length);
    this.items = [...page, ...others];
    this.size = page.length;
    this.load();
  }

  make(card) {
    const cell = new GridCell(this.#api, card, this.thumb);
    cell.onSettled = () => {
      this.load();
      this.onSettled(cell);
    };
    return cell;
  }

  has(proposalId) {
    return this.items.some((cell) => cell.id === proposalId);
  }

  // On the page a cell says that it is gone, and keeps its place.
  remove(proposals) {
    const page = new Set(this.page);
    for (const cell of this.items.filter(({ id }) => proposals.has(id))) {
      this.done.add(cell.id);
      cell.gone = true;
      if (page.has(cell)) this.onSettled(cell);
      else cell.drop();
    }
    this.items = this.items.filter((cell) => page.has(cell) || !cell.gone);
    this.fill();
  }

  lost(proposals) {
    this.remove(proposals);
  }

  drop(cell) {
    cell.drop();
  }

  // The page, and the one behind it.
  get wanted() {
    return this.size + (this.#delivering ? 0 : PAGE);
  }

  get kept() {
    return this.size;
  }

  get asked() {
    return this.items.filter((cell) => !cell.gone).map((cell) => cell.id);
  }

  get pictures() {
    return this.items.slice(0, this.wanted);
  }
}
