// Grid: one category, many pictures. The exceptions are marked; the rest follows the default.

const GRID_LEAST_LOOK = 400; // milliseconds; a page shown for less was not looked at
const GRID_KEEP = 3; // pages behind the current one whose pictures stay loaded, for a quick undo

class GridMode {
  #shell;
  #session;
  #feed;
  #view;
  #query = null;
  #rest = "present"; // the page's default verdict
  #shown = []; // cells of the page
  #at = 0; // the current one
  #marks = new GridMarks();
  #applied = []; // the session's entries whose pages can be shown again, oldest first
  #own = new Set(); // undos and redos of these
  #shownAt = 0;

  constructor(shell) {
    this.#shell = shell;
    this.#session = shell.session; // the shell may have another one when this mode is closed
    this.#feed = new GridFeed(shell.api, shell.outbox);
    this.#feed.onChange = () => this.#draw();
    this.#feed.onSettled = (cell) => this.#settled(cell);
    this.#view = new GridView(shell.mount, shell.template("gridTemplate"), shell.api, {
      rest: (state) => this.#setRest(state),
      mark: (cell, event) => this.#clicked(cell, event),
      leave: (cell) => this.#toggle(cell, "skip"),
      move: (step) => this.#move(this.#at + step, false),
      close: () => this.#closeLarge(true),
      peek: (cell) => this.#view.large.peek(cell, this.#view.words(cell), this.#view.place(cell)),
      unpeek: () => this.#unpeek(),
      open: (cell) => this.#openLarge(cell),
    });
    this.#marks.onMark = (cell) => this.#drawMark(cell);
    this.#view.onSeen = () => this.#see();
    this.#view.onResize = () => this.#resized();
  }

  open(query, data) {
    this.#view.scoreWord = data.score_word;
    if (query === this.#query) return this.#draw();
    this.#query = query;
    this.#rest = null;
    freeKeyboard();
    this.#restart();
  }

  close() {
    this.#forget();
    this.#feed.close();
    this.#view.close();
  }

  renewed() {
    this.#feed.fill();
  }

  // Verdicts of a closed tab have turned up: their pictures need no second answer.
  adopted(proposals) {
    this.#feed.remove(proposals);
    this.#draw();
  }

  again() {
    if (!this.#feed.problem) return this.#restart();
    this.#feed.retry();
    this.#draw();
  }

  get left() {
    return this.#feed.left;
  }

  act(action, event) {
    const actions = {
      accept: () => this.#apply(),
      next: () => this.#apply(),
      reject: () => this.#toggle(this.#current, "exception"),
      skip: () => this.#toggle(this.#current, "skip"),
      default: () => this.#setRest(opposite(this.#rest)),
      all: () => this.#markAll(),
      zoom: () => this.#toggleLarge(),
      escape: () => this.#escape(),
      move: () => this.#step(event),
      undo: () => this.#undo(),
      redo: () => this.#redo(),
    };
    const needsPage = !["undo", "redo"].includes(action);
    if (!actions[action] || (needsPage && !this.#shown.length)) return false;
    return actions[action]() !== false;
  }

  // What the server says of an operation; of a batch's single pictures the shell tells enough.
  answered({ kind, client_id: id, undoes }, { status }) {
    const gone = status === "stale" || status === "refused";
    if (kind === "batch" && gone) this.#applied = this.#applied.filter((entry) => entry.id !== id);
    if (kind !== "undo" && kind !== "redo") return;
    const entry = this.#session.undone.find((one) => one.id === undoes && one.page);
    if (gone && entry) this.adopted(new Set(entry.page.settled.map((cell) => cell.id)));
    // Something else came back or went: what is shown is out of date, unless somebody works on it.
    else if (!gone && !this.#own.has(id) && !this.#marks.any) this.#restart();
  }

  // The queue from its front; earlier pages belong to what was shown before.
  #restart() {
    this.#forget();
    this.#feed.open(this.#query);
    this.#draw();
  }

  #forget() {
    const isReal = (entry) => entry.page?.stored !== false;
    for (const { page } of this.#applied) page.cells.forEach((cell) => cell.drop());
    this.#applied = [];
    this.#session.history = this.#session.history.filter(isReal);
    this.#session.undone = this.#session.undone.filter(isReal);
    for (const entry of [...this.#session.history, ...this.#session.undone]) delete entry.page;
  }

  get #current() {
    return this.#shown[this.#at] ?? null;
  }

  // Drawing

  #draw() {
    const page = this.#feed.page;
    if (!page.length) this.#cover();
    else this.#shell.show();
    this.#show(page);
  }

  #cover() {
    const { problem, exhausted } = this.#feed;
    if (problem && problem.kind !== "expired") this.#shell.problem(problem);
    else if (exhausted) this.#shell.end();
    else this.#shell.loading();
  }

  #show(page) {
    const grown = this.#shown.length > 0 && this.#shown.every((cell, at) => cell === page[at]);
    this.#shown = page;
    if (grown) this.#marks.grow(page);
    else this.#turned();
    if (page.length) {
      this.#rest ??= this.#usual(page);
      this.#view.question(page[0].card.category, this.#rest);
    }
    this.#view.page(page);
    this.#view.current(this.#current);
    if (!grown && this.#current && this.#view.isFocusFree) this.#view.focus(this.#current, true);
    this.#summarize();
    this.#shell.drawFigures();
    if (!grown) this.#resized();
  }

  // Another page: what belonged to the earlier one is over.
  #turned() {
    this.#at = 0;
    this.#marks.open(this.#shown);
    this.#shownAt = performance.now();
    this.#closeLarge(false);
    this.#view.scroll = 0;
  }

  // What most of the first page's proposals say; it holds until somebody changes it.
  #usual(page) {
    const present = page.filter(({ card }) => card.state === "present").length;
    return 2 * present >= page.length ? "present" : "absent";
  }

  // Larger pictures are loaded in more detail; where more fit, the page grows.
  #resized() {
    const { thumb, capacity } = this.#view;
    const size = Math.min(GRID_LIMIT, capacity);
    if (thumb === this.#feed.thumb && size <= this.#feed.size) return;
    this.#feed.thumb = thumb;
    this.#feed.size = Math.max(size, this.#feed.size);
    this.#feed.fill();
    this.#draw();
  }

  #settled(cell) {
    if (!this.#shown.includes(cell)) return;
    this.#view.picture(cell);
    this.#view.mark(cell);
    this.#see();
  }

  #see() {
    for (const cell of this.#shown) cell.seen ||= cell.visible && cell.picture.state === "ready";
    this.#summarize();
  }

  // What a click on the button does with each picture of the page.
  #count() {
    const groups = { rest: [], exception: [], skip: [], broken: [], gone: [], loading: [], unseen: [] };
    for (const cell of this.#shown) groups[this.#group(cell)].push(cell);
    return groups;
  }

  #group(cell) {
    if (cell.gone) return "gone";
    if (cell.broken) return "broken";
    if (cell.mark === "skip") return "skip";
    if (cell.seen) return cell.mark || "rest";
    return cell.picture.state === "ready" ? "unseen" : "loading";
  }

  #summarize() {
    const groups = this.#count();
    const count = Object.fromEntries(Object.entries(groups).map(([name, cells]) => [name, cells.length]));
    const settled = this.#shown.length - count.loading - count.unseen;
    const some = count.exception ? ` · ${count.exception} marked ${GRID_STATES[opposite(this.#rest ?? "present")]}` : "";
    const which = count.rest === this.#shown.length ? "all" : "the rest";
    this.#view.summary({
      button: count.rest || count.exception || !settled ? `Accept ${which} (${count.rest})${some}` : "Next page, nothing to store",
      note: this.#note(count),
      left: this.#feed.left,
      enabled: settled > 0,
    });
  }

  #note({ loading, unseen, skip, broken, gone }) {
    const stays = (count) => (count === 1 ? "stays" : "stay");
    const notes = [
      [loading, `not loaded yet ${stays(loading)} undecided`],
      [unseen, `not seen yet ${unseen === 1 ? "comes" : "come"} on the next page`],
      [skip, "left undecided"],
      [broken, "cannot be shown"],
      [gone, "taken by somebody else"],
    ];
    return notes.filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(" · ");
  }

  // Marks

  #drawMark(cell) {
    this.#view.mark(cell);
    if (this.#view.large.cell === cell) this.#view.large.words(this.#view.words(cell));
  }

  #toggle(cell, mark, scroll = true) {
    this.#marks.toggle(cell, mark);
    this.#goTo(this.#shown.indexOf(cell), scroll);
    this.#summarize();
  }

  #clicked(cell, { shiftKey }) {
    this.#unpeek();
    if (shiftKey) this.#extend(this.#shown.indexOf(cell), false);
    else this.#toggle(cell, cell.mark || "exception", false);
  }

  #extend(at, scroll) {
    this.#marks.extend(this.#at, at);
    this.#goTo(at, scroll);
    this.#summarize();
  }

  #markAll() {
    this.#marks.all();
    this.#summarize();
  }

  // Escape closes the large view; else it clears the marks, and brings them back.
  #escape() {
    if (this.#view.large.open) return this.#closeLarge(true);
    const count = this.#marks.clear();
    if (count) this.#shell.notice(`${plural(count, "mark")} cleared. Escape brings ${count === 1 ? "it" : "them"} back.`);
    this.#summarize();
  }

  #setRest(state) {
    this.#rest = state;
    this.#view.question(this.#shown[0]?.card.category ?? "", state);
    for (const cell of this.#shown) this.#drawMark(cell);
    this.#view.speak(`The rest are ${state}.`);
    this.#summarize();
  }

  // Moving

  #step({ key, shiftKey }) {
    const { columns } = this.#view;
    const last = this.#shown.length - 1;
    const below = Math.floor(last / columns) > Math.floor(this.#at / columns);
    const to = {
      ArrowLeft: this.#at - 1,
      ArrowRight: this.#at + 1,
      ArrowUp: this.#at - columns,
      ArrowDown: below ? Math.min(last, this.#at + columns) : this.#at,
      Home: 0,
      End: last,
    }[key];
    this.#move(to, shiftKey);
  }

  #move(to, range) {
    if (to < 0 || to >= this.#shown.length) return;
    if (range) return this.#extend(to, true);
    this.#marks.settle();
    this.#goTo(to, true);
  }

  #goTo(at, scroll) {
    this.#at = at;
    this.#view.current(this.#current);
    this.#view.focus(this.#current, scroll);
    if (this.#view.large.open) this.#openLarge(this.#current);
  }

  // Large view

  #toggleLarge() {
    if (this.#view.large.open) this.#closeLarge(true);
    else this.#openLarge(this.#current);
  }

  #openLarge(cell) {
    this.#at = this.#shown.indexOf(cell);
    this.#view.current(cell);
    this.#view.focus(cell, true);
    const neighbours = [this.#shown[this.#at + 1], this.#shown[this.#at - 1]].filter(Boolean);
    this.#view.large.show(cell, this.#view.words(cell), neighbours);
  }

  #unpeek() {
    if (!this.#view.large.open) this.#view.large.close();
  }

  #closeLarge(focus) {
    this.#view.large.close();
    if (focus) this.#view.focus(this.#current, true);
  }

  // Applying

  #apply() {
    const { rest, exception, skip, broken, gone } = this.#count();
    const settled = [...rest, ...exception, ...skip, ...broken, ...gone];
    if (!settled.length || performance.now() - this.#shownAt < GRID_LEAST_LOOK) return;
    const decided = this.#shown.filter((cell) => rest.includes(cell) || exception.includes(cell));
    const operation = this.#operation(decided);
    const entry = {
      id: operation.client_id,
      label: decided.length ? `${operation.label}, ${plural(decided.length, "picture")}` : "a page passed by",
      verdict: decided.length ? this.#rest : "undecided",
      page: { ...this.#snapshot(), settled, stored: decided.length > 0 },
    };
    this.#session.gave(entry);
    this.#turn(entry);
    if (decided.length) this.#send(operation);
    this.#view.speak(`Stored ${rest.length} ${entry.page.rest}, ${exception.length} ${opposite(entry.page.rest)}.`);
  }

  #snapshot() {
    const marks = this.#marks.list;
    return { cells: this.#shown, marks, rest: this.#rest, at: this.#at, scroll: this.#view.scroll };
  }

  #operation(cells) {
    const seconds = (performance.now() - this.#shownAt) / 1000 / Math.max(1, cells.length);
    const decisions = cells.map(({ card, mark }) => ({
      client_id: newId(),
      proposal_id: card.proposal_id,
      image_id: card.image_id,
      category_id: card.category_id,
      verdict: mark === "exception" ? opposite(this.#rest) : this.#rest,
      seconds: Math.round(seconds * 1000) / 1000,
    }));
    const accepted = cells.filter(({ card }, at) => decisions[at].verdict === card.state).length;
    return { kind: "batch", client_id: newId(), decisions, label: this.#shown[0].card.category, accepted };
  }

  // Delivery follows after the page has changed.
  #send(operation) {
    if (operation.kind !== "batch") this.#own.add(operation.client_id);
    queueMicrotask(() => this.#shell.outbox.add(operation));
  }

  // The page goes, the next one is here.
  #turn(entry) {
    this.#applied.push(entry);
    this.#applied.at(-1 - GRID_KEEP)?.page.settled.forEach((cell) => cell.drop());
    const size = Math.min(GRID_LIMIT, Math.max(GRID_PAGE, this.#view.capacity));
    this.#feed.settle(entry.page.settled, size);
    this.#draw();
  }

  // Only what was applied in this queue comes back to the screen; the shell knows the others.
  #undo() {
    const entry = this.#session.history.at(-1);
    if (!entry || this.#applied.at(-1) !== entry) return false;
    this.#applied.pop();
    this.#session.undone.push(this.#session.history.pop());
    this.#restore(entry.page);
    const { id: undoes, label } = entry;
    if (entry.page.stored) this.#send({ kind: "undo", client_id: newId(), undoes, label });
    return true;
  }

  #restore({ cells, marks, rest, at, scroll }) {
    cells.forEach((cell, index) => {
      cell.mark = marks[index];
    });
    this.#feed.restore(cells);
    this.#rest = rest;
    this.#draw();
    this.#at = at;
    this.#view.current(this.#current);
    if (this.#view.isFocusFree) this.#view.focus(this.#current, false);
    this.#view.scroll = scroll;
  }

  #redo() {
    const entry = this.#session.undone.at(-1);
    if (!entry?.page || entry.page.cells.some((cell, at) => cell !== this.#shown[at])) return false;
    this.#session.history.push(this.#session.undone.pop());
    const { id: redoes, label } = entry;
    entry.id = newId();
    this.#turn(entry);
    if (entry.page.stored) this.#send({ kind: "redo", client_id: entry.id, redoes, label });
    return true;
  }
}
