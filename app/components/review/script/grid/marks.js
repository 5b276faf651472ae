// Grid's marks: which pictures of a page say something of their own. A mark is what the person
// said: "present", "absent" or "skip"; "" goes with the rest. It stays when the rest changes.

export class GridMarks {
  #cells = [];
  #range = null; // { anchor, marks }: where a range began, and the marks before it
  #cleared = null; // the marks that clear() took away
  onMark = () => {}; // a cell's mark has changed

  // Another page.
  open(cells) {
    this.#cells = cells;
    this.settle();
  }

  // The same page with more cells behind.
  grow(cells) {
    this.#cells = cells;
  }

  // A range is at its end.
  settle() {
    this.#range = null;
    this.#cleared = null;
  }

  get list() {
    return this.#cells.map((cell) => cell.mark);
  }

  get any() {
    return this.#cells.some((cell) => cell.mark);
  }

  say(cell, mark) {
    this.settle();
    this.#set(cell, mark);
  }

  all(mark) {
    this.settle();
    for (const cell of this.#cells) this.#set(cell, mark);
  }

  // From where the range began to here all get the mark; what it leaves is as it was before.
  extend(from, to, mark) {
    this.#range ??= { anchor: from, marks: this.list };
    this.#cleared = null;
    const { anchor, marks } = this.#range;
    const [first, last] = [Math.min(anchor, to), Math.max(anchor, to)];
    this.#cells.forEach((cell, at) => this.#set(cell, at >= first && at <= last ? mark : (marks[at] ?? "")));
  }

  // Takes all marks away; where there are none, brings back those it took. Tells how many went.
  clear() {
    const marks = this.list;
    const count = marks.filter(Boolean).length;
    const back = count ? [] : (this.#cleared ?? []);
    this.#range = null;
    this.#cleared = count ? marks : null;
    this.#cells.forEach((cell, at) => this.#set(cell, back[at] ?? ""));
    return count;
  }

  #set(cell, mark) {
    if (cell.mark === mark) return;
    cell.mark = mark;
    this.onMark(cell);
  }
}
