// Grid view: the cells on the page, the words above them, the large view. Text is never markup.

const TILE_KEY = "clsl-grid-size";
const TILE = 104; // pixels, the least width of a cell until somebody moves the slider
const GRID_GAP = 8; // pixels between cells
const PEEK_AFTER = 300; // milliseconds of rest on a picture
const HOLD_AFTER = 500; // of a finger on a picture
const PEEK_GAP = 12; // pixels between a picture and its large view, and inside it
const PEEK_WIDEST = 560;
const PEEK_LEAST = 240;
const PEEK_WORDS = 200; // pixels kept for what stands below
const GRID_STATES = { present: "✓", absent: "✗" };

function percent(value) {
  return `${Math.round(100 * value)} %`;
}

function opposite(state) {
  return state === "present" ? "absent" : "present";
}

// What the model says of a card, in words.
function belief({ score, probability }, scoreWord) {
  const calibrated = scoreWord === "probability" && probability !== null;
  return calibrated ? `probability ${percent(probability)}` : `score ${score.toFixed(2)}`;
}

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

// The picture under the pointer or the focus, large: beside it, or over the whole page.
class LargeView {
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

  words({ name, facts, known, mark, verdict, undecided }) {
    const part = this.#parts;
    this.root.dataset.mark = mark;
    this.root.dataset.verdict = verdict;
    part.gridLargeName.textContent = name;
    part.gridLargeFacts.textContent = facts;
    part.gridLargeKnown.replaceChildren(...known.flatMap((chip) => [chip, " "]));
    const sign = `${GRID_STATES[verdict]} ${verdict}`;
    part.gridLargeMark.textContent = mark === "exception" ? `Unmark ${sign}` : `Mark ${sign}`;
    part.gridLargeLeave.setAttribute("aria-pressed", String(undecided));
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
      const picture = new Picture(this.#api, sized(cell.card.image_url, GRID_SIZES.at(-1)));
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

// Mouse, pen and finger over the cells.
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
    listen("pointerover", (event, cell) => this.#over(event, cell));
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
    return target.closest("[role=gridcell]");
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

class GridView {
  scoreWord = "probability";
  #parts = {};
  #buttons = {};
  #cells = new Map(); // element -> cell, of the page
  #order = []; // cells of the page
  #columns = 1;
  #rest = "present"; // the page's default verdict
  #category = "";
  #watcher;
  #observer;
  #pointer;
  onSeen = () => {}; // a cell came on the screen, or left it
  onResize = () => {};

  // on: rest(state), mark(cell, event), leave(cell), move(step), close(), peek(cell), unpeek(), open(cell)
  constructor(mount, template, api, on) {
    const root = template.content.firstElementChild.cloneNode(true);
    mount.append(root);
    for (const part of [root, ...root.querySelectorAll("[data-part]")]) this.#parts[part.dataset.part] = part;
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
      mark: () => on.mark(this.large.cell, {}),
      leave: () => on.leave(this.large.cell),
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
    gridLargePicture.addEventListener("click", () => on.close());
    this.#pointer = new GridPointer(gridCells, {
      click: (element, event) => on.mark(this.#cells.get(element), event),
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

  // How many pictures the screen holds.
  get capacity() {
    const { gridCells } = this.#parts;
    const [first] = this.#order;
    const high = first ? first.element.offsetHeight : 0;
    return high ? this.#columns * Math.floor((gridCells.clientHeight + GRID_GAP) / (high + GRID_GAP)) : 0;
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
    this.#category = category;
    part.gridQuestion.replaceChildren("Which of these show a ", make("strong", category), "?");
    part.gridHint.textContent =
      rest === "present" ? "Mark the ones that do not." : "Mark the ones that do.";
    part.gridCells.setAttribute("aria-label", `Pictures, perhaps of ${category}`);
    part.grid.dataset.rest = rest;
    this.#buttons.present.setAttribute("aria-pressed", String(rest === "present"));
    this.#buttons.absent.setAttribute("aria-pressed", String(rest === "absent"));
  }

  // The page's cells; each is drawn once and kept as long as its cell.
  page(cells) {
    if (cells.length === this.#order.length && cells.every((cell, at) => cell === this.#order[at])) return;
    this.#watcher.disconnect();
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
    const verdict = opposite(this.#rest);
    const words = { exception: `, marked as exception: ${verdict}`, skip: ", left undecided", "": "" };
    const signs = { exception: GRID_STATES[verdict], skip: "?", "": "" };
    const problem = cell.gone || cell.broken ? `, ${element.children[1].textContent}` : "";
    element.dataset.mark = mark;
    element.setAttribute("aria-selected", String(mark === "exception"));
    element.setAttribute("aria-label", `${card.file_name}, ${belief(card, this.scoreWord)}${problem}${words[mark]}`);
    element.children[2].textContent = signs[mark];
  }

  // The one cell that the tab key reaches.
  current(cell, focus) {
    for (const other of this.#order) other.element.tabIndex = other === cell ? 0 : -1;
    if (!cell || !focus) return;
    cell.element.focus({ preventScroll: true });
    cell.element.scrollIntoView({ block: "nearest" });
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
    const verdict = opposite(this.#rest);
    const marked = { exception: `marked ${GRID_STATES[verdict]} ${verdict}`, skip: "left undecided", "": "" };
    const said = [belief(card, this.scoreWord)];
    if (card.disputes) said.push("the label so far says otherwise");
    if (card.flag) said.push(`flagged by ${card.flag.annotator}${card.flag.comment ? `: ${card.flag.comment}` : ""}`);
    if (marked[mark]) said.push(marked[mark]);
    return { name: card.file_name, facts: said.join(" · "), known: this.#known(card.known ?? []), mark, verdict, undecided: mark === "skip" };
  }

  #known(known) {
    return known.map(({ category, state, source }) => {
      const chip = make("span", `${GRID_STATES[state]} ${category}`, "grid-chip");
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
