// Card view: the picture, its questions as chips, and the one that is asked.

import { make, partsOf } from "../dom.js";
import { article, belief, certainty, SAID, SIGNS } from "../words.js";
import { boxesLayer, Lens } from "./lens.js";

const LARGEST_ZOOM = 3;

export class CardView {
  scoreWord = "probability";
  #root;
  #parts;
  #buttons = {};
  #stage = { width: 0, height: 0 };
  #shown = null; // the card on the stage
  #observer;
  #onChip;
  lens;

  constructor(mount, template, onChip) {
    this.#root = template.content.firstElementChild.cloneNode(true);
    mount.append(this.#root);
    this.#parts = partsOf(this.#root);
    for (const button of this.#root.querySelectorAll("[data-action]")) this.#buttons[button.dataset.action] = button;
    this.#onChip = onChip;
    this.lens = new Lens(this.#parts.stage, this.#parts.frame);
    this.#observer = new ResizeObserver(() => this.#measure());
    this.#observer.observe(this.#parts.stage);
  }

  close() {
    this.#observer.disconnect();
    this.#root.remove();
  }

  #measure() {
    const { stage } = this.#parts;
    this.#stage = { width: stage.clientWidth, height: stage.clientHeight };
    if (this.#shown) this.#frame(this.#shown);
  }

  // What is drawn for each key press: as little as possible.
  card(card, chip, { heat, boxes, picture }) {
    const another = this.#shown !== card;
    this.#shown = card;
    if (another) this.lens.reset();
    if (!this.#stage.width) this.#measure();
    this.#picture(card, chip, heat, boxes, picture);
    this.#ask(card, chip);
    this.#chips(card, chip);
    this.#known(card);
    this.#flag(card);
    this.#file(card);
    const ready = card.picture.state === "ready";
    this.#enable(["accept", "reject"], ready);
    this.#enable(["heat"], Boolean(chip.heatmap));
    this.#press("heat", heat);
    this.#press("boxes", boxes !== null);
    this.#press("zoom", this.lens.zoomed);
  }

  #picture(card, chip, heat, boxes, sharper) {
    const { frame, over } = this.#parts;
    const ready = card.picture.state === "ready";
    const layers = ready ? [sharper ?? card.picture.element] : [];
    if (ready && heat && chip.heatmap?.state === "ready") {
      chip.heatmap.element.className = "heat";
      layers.push(chip.heatmap.element);
    }
    if (ready && boxes?.boxes) layers.push(boxesLayer(boxes, card.picture.element));
    this.#frame(card);
    frame.replaceChildren(...layers);
    over.hidden = ready;
    if (ready) return;
    const failed = card.picture.state === "failed";
    over.textContent = failed
      ? `This picture cannot be shown. ${card.picture.problem} You can skip it.`
      : "Loading the picture …";
  }

  // The question is the same whatever the model thinks: so the keys mean the same.
  #ask(card, chip) {
    const part = this.#parts;
    part.question.replaceChildren(`Is there ${article(chip.category)} `, make("strong", chip.category), " in this picture?");
    part.group.textContent = chip.supercategory ?? "";
    part.belief.textContent = belief(chip).map((sentence) => `${sentence}.`).join(" ");
    const { word, text, value } = certainty(chip, this.scoreWord);
    part.scoreWord.textContent = word === "probability" ? "Probability that it is there" : "Score for it being there";
    part.score.textContent = text;
    part.bar.style.width = `${Math.round(100 * value)}%`;
    part.scoreExtra.textContent = word === "probability" ? `score ${chip.score.toFixed(2)}` : "";
  }

  #chips(card, focused) {
    const { chips } = this.#parts;
    chips.hidden = card.chips.length < 2 && !card.chips.some((chip) => chip.verdict);
    const held = [...chips.children].indexOf(chips.getRootNode().activeElement);
    chips.replaceChildren(...(chips.hidden ? [] : card.chips.map((chip, at) => this.#chip(chip, at, chip === focused))));
    if (held >= 0) chips.children[held]?.focus();
  }

  #chip(chip, at, focused) {
    const { text, word } = certainty(chip, this.scoreWord);
    const button = make("button", "", "proposal");
    button.type = "button";
    button.dataset.verdict = chip.verdict;
    button.ariaCurrent = focused ? "true" : "false";
    button.ariaLabel = `${chip.category}, ${word} ${text}, ${SAID[chip.verdict || "skip"]}`;
    const mark = make("span", SIGNS[chip.verdict] ?? "", "mark");
    button.append(make("kbd", String(at + 1)), make("span", chip.category, "name"), make("span", text, "value"), mark);
    button.addEventListener("click", (event) => {
      if (event.detail > 0) button.blur();
      this.#onChip(at);
    });
    return button;
  }

  #known(card) {
    const part = this.#parts;
    const all = [...card.known, ...card.added];
    part.knownWord.textContent = all.length ? "Already known:" : "Nothing else known yet";
    part.known.replaceChildren(
      ...all.flatMap(({ category, state, source }) => {
        const present = state === "present";
        const chip = make("span", `${present ? "" : "✗ "}${category}`, `chip ${present ? "" : "no"}`);
        chip.title = `${present ? "present" : "absent"} (${source})`;
        return [chip, " "];
      }),
    );
  }

  #flag({ flag }) {
    const { flagged } = this.#parts;
    flagged.hidden = !flag;
    if (flag) flagged.textContent = `⚑ ${flag.comment || "flagged"} (${flag.annotator})`;
    this.#press("flag", Boolean(flag));
  }

  #file(card) {
    const { file } = this.#parts;
    const size = card.width && card.height ? ` · ${card.width} × ${card.height}` : "";
    const own = card.model_run_id ? ` · model run ${card.model_run_id}` : "";
    const run = card.model ? ` · outside model ${card.model}` : own;
    file.textContent = `${card.file_name}${size}${run}`;
    file.title = card.file_name;
  }

  // The picture's box in pixels, so that the layers lie exactly over it.
  #frame({ picture, width, height }) {
    const natural = picture.element?.naturalWidth ? picture.element : null;
    const wide = natural?.naturalWidth || width || 4;
    const high = natural?.naturalHeight || height || 3;
    const most = LARGEST_ZOOM / (window.devicePixelRatio || 1);
    const zoom = Math.min(this.#stage.width / wide, this.#stage.height / high, most);
    this.#parts.frame.style.width = `${Math.floor(wide * zoom)}px`;
    this.#parts.frame.style.height = `${Math.floor(high * zoom)}px`;
  }

  #enable(actions, enabled) {
    for (const action of actions) this.#buttons[action].disabled = !enabled;
  }

  #press(action, pressed) {
    this.#buttons[action].setAttribute("aria-pressed", String(pressed));
  }
}
