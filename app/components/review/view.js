// View: everything that touches the page. Names from files reach it as text, never as markup.

const LEAST_STAGE = 260; // pixels; below that the page scrolls
const PAGE_MARGIN = 12;
const NOTICE_TIME = 4_000;
const SPEAK_AFTER = 1_000; // screen readers hear the state once it has settled
const LARGEST_ZOOM = 3;

const COUNT = new Intl.NumberFormat();

function plural(count, word) {
  return `${COUNT.format(count)} ${word}${count === 1 ? "" : "s"}`;
}

function make(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

class View {
  scoreWord = "score";
  #parts = {};
  #buttons = {};
  #stage = { width: 0, height: 0 };
  #shown = null; // the card on the stage
  #notice = 0;
  #speech = 0;
  #speaking = "";
  #measure;
  #observer;

  constructor(host, act) {
    for (const part of host.querySelectorAll("[data-part]")) this.#parts[part.dataset.part] = part;
    for (const button of host.querySelectorAll("[data-action]")) {
      this.#buttons[button.dataset.action] ??= button;
      button.addEventListener("click", (event) => {
        // After a click the space bar must skip, not press the same button again.
        if (event.detail > 0) button.blur();
        act(button.dataset.action);
      });
    }
    this.#measure = () => this.#fit();
    this.#observer = new ResizeObserver(this.#measure);
    this.#observer.observe(this.root);
    this.#observer.observe(this.#parts.stage);
    window.addEventListener("resize", this.#measure);
    this.#fit();
  }

  get root() {
    return this.#parts.review;
  }

  close() {
    this.#observer.disconnect();
    window.removeEventListener("resize", this.#measure);
    clearTimeout(this.#notice);
    clearTimeout(this.#speech);
  }

  // The stage takes the height that is left below it in the window.
  #fit() {
    const { stage, file } = this.#parts;
    const scroller = this.root.getRootNode().host?.closest("[data-testid=stMain]");
    const top = stage.getBoundingClientRect().top + (scroller?.scrollTop ?? 0);
    const rest = window.innerHeight - top - file.offsetHeight - PAGE_MARGIN;
    this.root.style.setProperty("--room", `${Math.max(LEAST_STAGE, Math.floor(rest))}px`);
    this.#stage = { width: stage.clientWidth, height: stage.clientHeight };
    if (this.#shown) this.#frame(this.#shown);
  }

  card(card, heat) {
    this.#state("card");
    if (this.#shown !== card) this.#describe(card);
    this.#shown = card;
    const { frame, over } = this.#parts;
    const ready = card.picture.state === "ready";
    const layers = ready ? [card.picture.element] : [];
    if (ready && heat && card.heatmap?.state === "ready") {
      card.heatmap.element.className = "heat";
      layers.push(card.heatmap.element);
    }
    this.#frame(card);
    frame.replaceChildren(...layers);
    const failed = card.picture.state === "failed";
    over.hidden = ready;
    over.textContent = failed
      ? `This picture cannot be shown. ${card.picture.problem} You can skip it.`
      : "Loading the picture …";
    this.#enable(["accept", "reject"], ready);
    this.#enable(["skip"], true);
    this.#enable(["heat"], Boolean(card.heatmap));
  }

  // The card's words have changed: write them again at the next drawing.
  forget() {
    this.#shown = null;
  }

  #describe(card) {
    const part = this.#parts;
    const name = make("strong", card.category);
    const present = card.state === "present";
    if (present) part.question.replaceChildren("Is there any ", name, " in this picture?");
    else part.question.replaceChildren("Probably no ", name, ": right?");
    part.group.textContent = card.supercategory ?? "";
    part.acceptMeans.textContent = present ? "it is there" : "not there";
    part.rejectMeans.textContent = present ? "not there" : "it is there";
    this.#score(card);
    this.#known(card.known ?? []);
    const size = card.width && card.height ? ` · ${card.width} × ${card.height}` : "";
    const run = card.model_run_id ? ` · model run ${card.model_run_id}` : "";
    part.file.textContent = `${card.file_name}${size}${run}`;
    part.file.title = card.file_name;
  }

  #score({ score, probability }) {
    const part = this.#parts;
    const calibrated = this.scoreWord === "probability" && probability !== null;
    const value = calibrated ? probability : score;
    const percent = `${Math.round(100 * value)} %`;
    part.scoreWord.textContent = calibrated ? "Probability" : "Score";
    part.score.textContent = calibrated ? percent : value.toFixed(2);
    part.bar.style.width = `${Math.round(100 * value)}%`;
    part.scoreExtra.textContent = calibrated ? `score ${score.toFixed(2)}` : "";
  }

  #known(known) {
    const part = this.#parts;
    part.knownWord.textContent = known.length ? "Already known:" : "Nothing else known yet";
    part.known.replaceChildren(
      ...known.flatMap(({ category, state, source }) => {
        const present = state === "present";
        const chip = make("span", `${present ? "" : "✗ "}${category}`, `chip ${present ? "" : "no"}`);
        chip.title = `${present ? "present" : "absent"} (${source})`;
        return [chip, " "];
      }),
    );
  }

  // The picture's box in pixels, so that the heat map lies exactly over it.
  #frame({ picture, width, height }) {
    const natural = picture.element?.naturalWidth ? picture.element : null;
    const wide = natural?.naturalWidth || width || 4;
    const high = natural?.naturalHeight || height || 3;
    const most = LARGEST_ZOOM / (window.devicePixelRatio || 1);
    const zoom = Math.min(this.#stage.width / wide, this.#stage.height / high, most);
    this.#parts.frame.style.width = `${Math.floor(wide * zoom)}px`;
    this.#parts.frame.style.height = `${Math.floor(high * zoom)}px`;
  }

  #state(state) {
    this.root.dataset.state = state;
    const covered = state !== "card";
    this.#parts.cover.hidden = !covered;
    this.#parts.frame.hidden = covered;
    this.#parts.card.hidden = covered;
    this.#parts.file.style.visibility = covered ? "hidden" : "";
    if (!covered) return;
    this.#parts.over.hidden = true;
    this.#shown = null;
    this.#enable(["accept", "reject", "skip", "heat"], false);
  }

  // Instead of a card: waiting, an error, or the end of the queue.
  cover(state, title, text, lines = [], button = "") {
    this.#state(state);
    const part = this.#parts;
    part.coverTitle.textContent = title;
    part.coverText.textContent = text;
    part.coverList.replaceChildren(...lines.map((line) => make("li", line)));
    part.coverButton.textContent = button;
    part.coverButton.hidden = !button;
  }

  #enable(actions, enabled) {
    for (const action of actions) this.#buttons[action].disabled = !enabled;
  }

  figures({ left, verdicts, rate, last, canUndo }) {
    const part = this.#parts;
    part.left.textContent = left === null ? "–" : COUNT.format(left);
    part.verdicts.textContent = COUNT.format(verdicts);
    part.rate.textContent = rate === null ? "–" : COUNT.format(rate);
    part.last.textContent = last;
    part.last.title = last;
    this.#enable(["undo"], canUndo);
  }

  heat(on) {
    this.#buttons.heat.setAttribute("aria-pressed", String(on));
  }

  status({ kind, count, seconds }) {
    const kept = `${COUNT.format(count)} kept here`;
    const retry = seconds ? `retrying in ${seconds} s` : "retrying …";
    const text = {
      saved: "All saved",
      saving: `${COUNT.format(count)} saving …`,
      expired: `Signing in again – ${kept}`,
      busy: `Server trouble – ${kept}, ${retry}`,
      unreachable: `Offline – ${kept}, ${retry}`,
    }[kind];
    const part = this.#parts;
    part.status.dataset.kind = kind;
    part.statusText.textContent = text;
    part.retry.hidden = kind !== "busy" && kind !== "unreachable";
    this.#speak(text.split(",")[0]);
  }

  #speak(text) {
    if (text === this.#speaking) return;
    this.#speaking = text;
    clearTimeout(this.#speech);
    this.#speech = setTimeout(() => {
      this.#parts.spoken.textContent = text;
    }, SPEAK_AFTER);
  }

  notice(text) {
    const { notice } = this.#parts;
    notice.textContent = text;
    notice.hidden = false;
    clearTimeout(this.#notice);
    this.#notice = setTimeout(() => {
      notice.hidden = true;
    }, NOTICE_TIME);
  }

  refused(lines) {
    this.#parts.refused.hidden = !lines.length;
    this.#parts.refusedTitle.textContent = `${plural(lines.length, "verdict")} refused`;
    this.#parts.refusedList.replaceChildren(...lines.map((line) => make("li", line)));
  }

  get helpOpen() {
    return this.#parts.help.open;
  }

  // A native dialog: it keeps the focus inside, and Escape closes it.
  toggleHelp() {
    if (this.helpOpen) this.#parts.help.close();
    else this.#parts.help.showModal();
  }
}
