// View: what both modes share of the page. Names from files reach it as text, never as markup.

import { make, partsOf } from "./dom.js";
import { ACTIONS, FIXED, keyName, letterOf } from "./keys.js";
import { Picker } from "./picker.js";
import { about, COUNT, percent, plural } from "./words.js";

const LEAST_ROOM = 260; // pixels; below that the page scrolls
const PAGE_MARGIN = 12;
const NOTICE_TIME = 4_000;
const SPEAK_AFTER = 1_000; // screen readers hear the state once it has settled

export class View {
  #parts;
  #buttons = {};
  #notice = 0;
  #speech = 0;
  #speaking = "";
  #fit = () => this.fit();
  #observer;
  #capture = null; // the action whose new key is waited for
  onKey = () => {}; // (action, key): somebody wants another key

  constructor(host, act) {
    this.#parts = partsOf(host);
    // Buttons of the modes are added and removed: one listener hears all of them.
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      if (!button || button.disabled) return;
      // After a click the space bar must skip, not press the same button again.
      if (event.detail > 0) button.blur();
      act(button.dataset.action);
    });
    for (const button of this.root.querySelectorAll(".foot [data-action]")) this.#buttons[button.dataset.action] = button;
    this.#parts.help.addEventListener("keydown", (event) => this.#captured(event), true);
    this.#parts.help.addEventListener("close", () => this.#wait(null));
    this.picker = new Picker(this.#parts);
    this.#observer = new ResizeObserver(this.#fit);
    this.#observer.observe(this.root);
    window.addEventListener("resize", this.#fit);
    this.fit();
  }

  get root() {
    return this.#parts.review;
  }

  get mount() {
    return this.#parts.mount;
  }

  template(name) {
    return this.#parts[name];
  }

  close() {
    this.#observer.disconnect();
    window.removeEventListener("resize", this.#fit);
    clearTimeout(this.#notice);
    clearTimeout(this.#speech);
  }

  // The pictures take the height that is left in the window above the foot.
  fit() {
    const { area, foot } = this.#parts;
    const scroller = this.root.getRootNode().host?.closest("[data-testid=stMain]");
    const top = area.getBoundingClientRect().top + (scroller?.scrollTop ?? 0);
    const rest = window.innerHeight - top - foot.offsetHeight - PAGE_MARGIN;
    this.root.style.setProperty("--room", `${Math.max(LEAST_ROOM, Math.floor(rest))}px`);
  }

  mode(mode) {
    this.root.dataset.mode = mode;
  }

  #state(state) {
    this.root.dataset.state = state;
    this.#parts.cover.hidden = state === "card";
    this.#parts.mount.inert = state !== "card";
  }

  show() {
    this.#state("card");
  }

  // Instead of pictures: waiting, an error, or the end of the queue.
  cover(state, title, text, lines = [], button = "") {
    this.#state(state);
    const part = this.#parts;
    part.coverTitle.textContent = title;
    part.coverText.textContent = text;
    part.coverList.replaceChildren(...lines.map((line) => make("li", line)));
    part.coverButton.textContent = button;
    part.coverButton.hidden = !button;
  }

  figures({ left, verdicts, rate, acceptance, last, canUndo, canRedo }) {
    const part = this.#parts;
    part.left.textContent = left ? `${COUNT.format(left.queue)}${left.at_least ? "+" : ""}` : "–";
    part.leftMore.textContent = this.#more(left);
    part.verdicts.textContent = COUNT.format(verdicts);
    const pace = rate ? [`${COUNT.format(rate)} / min`] : [];
    if (acceptance !== null) pace.push(`${percent(acceptance)} as the model thought`);
    if (rate && left?.queue) pace.push(`${about(left.queue / rate)} to go`);
    part.pace.textContent = pace.join(" · ");
    part.last.textContent = last;
    part.last.title = last;
    this.#buttons.undo.disabled = !canUndo;
    this.#buttons.redo.disabled = !canRedo;
  }

  #more(left) {
    if (!left || left.all === left.queue) return "";
    const category = left.category === null || left.category === left.queue ? "" : `, ${COUNT.format(left.category)} of this category`;
    return ` here${category}, ${COUNT.format(left.all)} in all`;
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

  // Keys: the hints on the buttons, and the help where they are changed.

  keys(mode, keys) {
    for (const hint of this.root.querySelectorAll("[data-key]")) {
      hint.textContent = keyName(keys[hint.dataset.key]);
      hint.closest("button")?.setAttribute("aria-keyshortcuts", keys[hint.dataset.key] === " " ? "Space" : keys[hint.dataset.key]);
    }
    const { helpKeys, helpFixed } = this.#parts;
    helpKeys.replaceChildren(...Object.entries(ACTIONS[mode]).map(([action, what]) => this.#keyLine(action, what, keys[action])));
    helpFixed.textContent = FIXED[mode];
  }

  #keyLine(action, what, key) {
    const line = make("li", "");
    const change = make("button", "Change", "link");
    change.type = "button";
    change.dataset.change = action;
    change.ariaLabel = `Change the key: ${what}`;
    change.addEventListener("click", () => this.#wait(action));
    line.append(make("kbd", keyName(key)), make("span", what), change);
    return line;
  }

  #wait(action) {
    this.#capture = action;
    for (const button of this.#parts.helpKeys.querySelectorAll("[data-change]")) {
      button.textContent = button.dataset.change === action ? "Press a key …" : "Change";
    }
  }

  // The next key belongs to the action that waits for one; Escape leaves it as it was.
  #captured(event) {
    const action = this.#capture;
    if (!action || ["Shift", "Control", "Alt", "Meta", "Tab"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    this.#wait(null);
    if (event.key !== "Escape") this.onKey(action, letterOf(event));
  }

  keyProblem(text) {
    this.#parts.helpProblem.textContent = text;
  }

  onDefaults(listener) {
    this.#parts.helpDefaults.addEventListener("click", listener);
  }

  get helpOpen() {
    return this.#parts.help.open;
  }

  // A native dialog: it keeps the focus inside, and Escape closes it.
  toggleHelp() {
    this.keyProblem("");
    if (this.helpOpen) this.#parts.help.close();
    else this.#parts.help.showModal();
  }

  askFlag(onComment) {
    const { flag, flagForm, flagComment, flagCancel } = this.#parts;
    flagComment.value = "";
    flagCancel.onclick = () => flag.close();
    flagComment.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      flagForm.requestSubmit();
    };
    flagForm.onsubmit = () => onComment(flagComment.value.trim());
    flag.showModal();
    flagComment.focus();
  }
}
