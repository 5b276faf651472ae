// Grid: one category, many pictures. The exceptions are marked; the rest follows the default.

const GRID_LEAST_LOOK = 400; // milliseconds; a page shown for less was not looked at
const GRID_KEEP = 3; // pages behind the current one whose pictures stay loaded, for a quick undo
const GRID_STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last" };

class GridMode {
  #shell;
  #feed;
  #view;
  #query = null;
  #rest = "present"; // the page's default verdict
  #shown = []; // cells of the page
  #at = 0; // the current one
  #range = null; // { anchor, marks }: where a range began, and the marks before it
  #cleared = null; // the marks that Escape took away
  #pages = []; // applied ones, oldest first
  #shownAt = 0;

  constructor(shell) {
    this.#shell = shell;
    this.#feed = new GridFeed(shell.api, shell.outbox);
    this.#feed.onChange = () => this.#draw();
    this.#feed.onSettled = (cell) => this.#settled(cell);
    this.#view = new GridView(shell.mount, shell.template("gridTemplate"), shell.api, {
      rest: (state) => this.#setRest(state),
      mark: (cell, event) => this.#clicked(cell, event),
      leave: (cell) => this.#toggle(cell, "skip"),
      move: (step) => this.#move(this.#at + step, false),
      close: () => this.#closeLarge(),
      peek: (cell) => this.#view.large.peek(cell, this.#view.words(cell), this.#view.place(cell)),
      unpeek: () => this.#unpeek(),
      open: (cell) => this.#openLarge(cell),
    });
    this.#view.onSeen = () => this.#see();
    this.#view.onResize = () => this.#resized();
  }

  open(query, data) {
    this.#view.scoreWord = data.score_word;
    if (query !== this.#query) {
      this.#query = query;
      this.#rest = null;
      freeKeyboard();
      this.#restart();
    }
    this.#draw();
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
    if (this.#feed.problem) this.#feed.retry();
    else this.#restart();
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

  // What the server says of an undo or redo; of a batch the shell tells enough.
  answered({ kind, client_id: id, undoes, redoes }, { status }) {
    if (!undoes && !redoes) return;
    const { undone } = this.#shell.session;
    const pages = [...this.#pages, ...undone.map((entry) => ({ ...entry.page, id: entry.id }))];
    const page = pages.find((one) => one.cells && [id, undoes].includes(one.id));
    const gone = status === "stale" || status === "refused";
    if (page && gone && kind === "undo") this.adopted(new Set(page.cells.map((cell) => cell.id)));
    else if (!page && !gone && !this.#marks().some(Boolean)) this.#restart(); // the queue has changed
  }

  // The queue from its front; earlier pages belong to what was shown before.
  #restart() {
    this.#forget();
    this.#feed.open(this.#query);
  }

  #forget() {
    const { session } = this.#shell;
    for (const { cells } of this.#pages) cells.forEach((cell) => cell.drop());
    this.#pages = [];
    session.history = session.history.filter((entry) => entry.page?.stored !== false);
    session.undone = session.undone.filter((entry) => entry.page?.stored !== false);
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
    if (problem) this.#shell.problem(problem);
    else if (exhausted) this.#shell.end();
    else this.#shell.loading();
  }

  #show(page) {
    const grown = this.#shown.length > 0 && this.#shown.every((cell, at) => cell === page[at]);
    this.#shown = page;
    if (!grown) this.#turned();
    if (page.length) {
      this.#rest ??= this.#usual(page);
      this.#view.question(page[0].card.category, this.#rest);
    }
    this.#view.page(page);
    this.#view.current(this.#current, !grown && this.#view.isFocusFree);
    this.#summarize();
    this.#shell.drawFigures();
  }

  // Another page: what belonged to the earlier one is over.
  #turned() {
    this.#at = 0;
    this.#range = this.#cleared = null;
    this.#shownAt = performance.now();
    this.#closeLarge();
    this.#view.scroll = 0;
  }

  // What most of the first page's proposals say; it holds until somebody changes it.
  #usual(page) {
    const present = page.filter(({ card }) => card.state === "present").length;
    return 2 * present >= page.length ? "present" : "absent";
  }

  #resized() {
    const { thumb } = this.#view;
    if (thumb === this.#feed.thumb) return;
    this.#feed.thumb = thumb;
    this.#feed.load();
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

  #mark(cell, mark) {
    if (cell.mark === mark) return;
    cell.mark = mark;
    this.#view.mark(cell);
    if (this.#view.large.cell === cell) this.#view.large.words(this.#view.words(cell));
  }

  #toggle(cell, mark) {
    if (!cell) return;
    this.#range = this.#cleared = null;
    this.#mark(cell, cell.mark === mark ? "" : mark);
    this.#goTo(this.#shown.indexOf(cell), true);
    this.#summarize();
  }

  #clicked(cell, { shiftKey }) {
    const at = this.#shown.indexOf(cell);
    this.#unpeek();
    if (shiftKey) this.#extend(at);
    else this.#toggle(cell, cell.mark || "exception");
  }

  #markAll() {
    this.#range = this.#cleared = null;
    for (const cell of this.#shown) this.#mark(cell, "exception");
    this.#summarize();
  }

  // From where the range began to here all are exceptions; what it left again is as before.
  #extend(at) {
    this.#range ??= { anchor: this.#at, marks: this.#marks() };
    const { anchor, marks } = this.#range;
    const [from, to] = [Math.min(anchor, at), Math.max(anchor, at)];
    this.#shown.forEach((cell, here) => this.#mark(cell, here >= from && here <= to ? "exception" : (marks[here] ?? "")));
    this.#cleared = null;
    this.#goTo(at, true);
    this.#summarize();
  }

  #marks() {
    return this.#shown.map((cell) => cell.mark);
  }

  // Escape closes the large view; else it clears the marks, and brings them back.
  #escape() {
    if (this.#view.large.open) return this.#closeLarge();
    const marks = this.#marks();
    const count = marks.filter(Boolean).length;
    if (!count && !this.#cleared) return;
    const back = count ? [] : this.#cleared;
    this.#cleared = count ? marks : null;
    this.#range = null;
    this.#shown.forEach((cell, at) => this.#mark(cell, back[at] ?? ""));
    if (count) this.#shell.notice(`${plural(count, "mark")} cleared. Escape brings ${count === 1 ? "it" : "them"} back.`);
    this.#summarize();
  }

  #setRest(state) {
    this.#rest = state;
    this.#view.question(this.#shown[0]?.card.category ?? "", state);
    for (const cell of this.#shown) this.#view.mark(cell);
    const { large } = this.#view;
    if (large.cell) large.words(this.#view.words(large.cell));
    this.#view.speak(`The rest are ${state}.`);
    this.#summarize();
  }

  // Moving

  #step({ key, shiftKey }) {
    const step = GRID_STEPS[key];
    const last = this.#shown.length - 1;
    const { columns } = this.#view;
    const to = { up: this.#at - columns, down: this.#at + columns, first: 0, last }[step] ?? this.#at + step;
    if (step === "down" && to > last) this.#move(Math.floor(last / columns) > Math.floor(this.#at / columns) ? last : this.#at, shiftKey);
    else this.#move(to, shiftKey);
  }

  #move(to, range) {
    if (to < 0 || to >= this.#shown.length) return;
    if (range) return this.#extend(to);
    this.#range = null;
    this.#goTo(to, true);
  }

  #goTo(at, focus) {
    this.#at = at;
    this.#view.current(this.#current, focus);
    if (this.#view.large.open) this.#openLarge(this.#current);
  }

  // Large view

  #toggleLarge() {
    if (this.#view.large.open) this.#closeLarge();
    else if (this.#current) this.#openLarge(this.#current);
  }

  #openLarge(cell) {
    this.#at = this.#shown.indexOf(cell);
    this.#view.current(cell, true);
    const neighbours = [this.#shown[this.#at + 1], this.#shown[this.#at - 1]].filter(Boolean);
    this.#view.large.show(cell, this.#view.words(cell), neighbours);
  }

  #unpeek() {
    if (!this.#view.large.open) this.#view.large.close();
  }

  #closeLarge() {
    this.#view.large.close();
  }

  // Applying

  #apply() {
    const { rest, exception, skip, broken, gone } = this.#count();
    const settled = [...rest, ...exception, ...skip, ...broken, ...gone];
    if (!settled.length || performance.now() - this.#shownAt < GRID_LEAST_LOOK) return;
    const decided = this.#shown.filter((cell) => rest.includes(cell) || exception.includes(cell));
    const page = { cells: this.#shown, marks: this.#marks(), rest: this.#rest, at: this.#at, scroll: this.#view.scroll };
    const operation = this.#operation(decided);
    const { client_id: id, label } = operation;
    const entry = { id, label, verdict: this.#rest, count: decided.length, page: { ...page, settled, stored: decided.length > 0 } };
    this.#shell.session.gave(entry);
    this.#turn(entry);
    if (decided.length) this.#send(operation);
    this.#view.speak(`Stored ${rest.length} ${page.rest}, ${exception.length} ${opposite(page.rest)}.`);
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
    queueMicrotask(() => this.#shell.outbox.add(operation));
  }

  // The page goes, the next one is here.
  #turn({ id, page }) {
    this.#pages.push({ ...page, id });
    this.#pages.at(-1 - GRID_KEEP)?.settled.forEach((cell) => cell.drop());
    const size = Math.min(GRID_LIMIT, Math.max(GRID_PAGE, this.#view.capacity));
    this.#feed.settle(page.settled, size);
    this.#draw();
  }

  // Only what was applied in this queue comes back to the screen; the shell knows the others.
  #undo() {
    const { session } = this.#shell;
    const entry = session.history.at(-1);
    if (!entry || this.#pages.at(-1)?.id !== entry.id) return false;
    this.#pages.pop();
    session.undone.push(session.history.pop());
    this.#restore(entry.page);
    if (entry.page.stored) this.#send({ kind: "undo", client_id: newId(), undoes: entry.id, label: entry.label });
    return true;
  }

  #restore({ cells, marks, rest, at, scroll }) {
    cells.forEach((cell, index) => {
      cell.mark = marks[index];
    });
    this.#feed.restore(cells);
    this.#rest = rest;
    this.#draw();
    this.#goTo(at, this.#view.isFocusFree);
    this.#view.scroll = scroll;
  }

  #redo() {
    const { session } = this.#shell;
    const entry = session.undone.at(-1);
    if (!entry?.page || entry.page.cells.some((cell, at) => cell !== this.#shown[at])) return false;
    session.undone.pop();
    const redoes = entry.id;
    entry.id = newId();
    session.history.push(entry);
    this.#turn(entry);
    if (entry.page.stored) this.#send({ kind: "redo", client_id: entry.id, redoes, label: entry.label });
    return true;
  }
}
