// Keys: the keyboard of the whole page, left alone wherever somebody writes or a dialog is open.

const TEXT_INPUTS = "input:not([type=radio],[type=checkbox],[type=button],[type=submit],[type=range],[type=color],[type=file],[type=reset],[type=image])";
const TYPING = `${TEXT_INPUTS},textarea,select,[role=textbox],[role=combobox],[role=searchbox],[role=spinbutton],[role=listbox],[role=menu]`;
const PRESSED = "button,summary,a[href],input:not([type=radio]:checked),[role=button],[role=checkbox],[role=switch],[role=tab],[role=option]";
const MOVED_BY_ARROWS = "input[type=range],input[type=radio],[role=slider],[role=radio],[role=tab]";
const CHOOSING = "[role=combobox],[role=radio],input[type=radio],select";
// A closed dialog keeps the focus until the next frame; only an open one takes the keys, and what
// is inside a closed one counts for nothing.
const DIALOG = "dialog[open],[role=dialog]:not(dialog),[role=alertdialog]:not(dialog)";

// What the actions of each mode are called in the help; in the order they are listed.
export const ACTIONS = {
  card: {
    accept: "it is there",
    reject: "it is not there",
    skip: "skip, when the picture does not tell",
    next: "next picture; what is undecided comes again later",
    undo: "undo the last verdict, and the one before it …",
    redo: "redo what was undone",
    add: "add a label that the model did not propose",
    others: "all other categories are absent",
    heat: "show where the model looked",
    boxes: "show the boxes of the source file",
    zoom: "zoom in, and back",
    flag: "flag the picture, or settle its flag",
    help: "this help",
  },
  grid: {
    accept: "it is there; on to the next picture",
    reject: "it is not there; on to the next picture",
    skip: "leave it undecided; on to the next picture",
    next: "store the page as it is shown, and turn it",
    default: "say the other of all pictures without a mark",
    zoom: "large view",
    undo: "undo the last page",
    redo: "redo it",
    help: "this help",
  },
};
export const FIXED = {
  card: "Always: 1–9 say of a proposal there, then not there, then undecided; arrows choose one, + and − zoom, Ctrl Z undoes, Ctrl Shift Z redoes, ? opens this help.",
  grid: "Always: arrows, Home and End move, with Shift they turn a range over, Ctrl A turns all over, Escape clears the marks, Ctrl Z undoes. A click turns a picture over between ✓ and ✗.",
};
const KEY_NAMES = { " ": "space", Backspace: "⌫", Enter: "⏎", Delete: "Del" };

export function keyName(key) {
  return KEY_NAMES[key] ?? key;
}

// The Latin letter of the key also under Greek, Cyrillic … keyboard layouts.
export function letterOf({ key, code }) {
  if (key.length > 1) return key;
  if (key.charCodeAt(0) > 127 && code.startsWith("Key")) return code.slice(3).toLowerCase();
  return key.toLowerCase();
}

export class Keys {
  #act;
  #isHelpOpen;
  #actions = new Map(); // key -> action
  #mode = "card";
  #listener = (event) => this.#pressed(event);

  // act(action, event) tells with false that the key means nothing now.
  constructor(act, isHelpOpen) {
    this.#act = act;
    this.#isHelpOpen = isHelpOpen;
    document.addEventListener("keydown", this.#listener);
  }

  configure(mode, keys) {
    this.#mode = mode;
    this.#actions = new Map(Object.keys(ACTIONS[mode]).map((action) => [keys[action], action]));
  }

  close() {
    document.removeEventListener("keydown", this.#listener);
  }

  #pressed(event) {
    if (event.defaultPrevented || event.isComposing) return;
    const action = this.#action(event);
    if (!action || !this.#isOurs(event, action)) return;
    if (event.repeat && action !== "move") return event.preventDefault();
    if (this.#act(action, event) !== false) event.preventDefault();
  }

  #action(event) {
    const letter = letterOf(event);
    if (event.altKey) return null;
    if (event.ctrlKey || event.metaKey) return this.#combined(letter, event.shiftKey);
    if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(letter)) return "move";
    if (this.#mode === "grid" && ["Home", "End"].includes(letter)) return "move";
    const fixed = { "?": "help", Escape: "escape", "+": "closer", "=": "closer", "-": "farther" };
    if (this.#mode === "card" && /^[1-9]$/.test(letter)) return "digit";
    return fixed[letter] ?? this.#actions.get(letter) ?? null;
  }

  #combined(letter, shift) {
    if (letter === "z") return shift ? "redo" : "undo";
    if (letter === "y") return "redo";
    return letter === "a" && this.#mode === "grid" ? "all" : null;
  }

  #isOurs(event, action) {
    const nodes = event.composedPath().filter((node) => node instanceof Element);
    const path = nodes.slice(nodes.findLastIndex((node) => node.matches("dialog:not([open])")) + 1);
    if (path.some((node) => node.isContentEditable || node.matches(TYPING))) return false;
    if ([" ", "Enter"].includes(event.key) && path.some((node) => node.matches(PRESSED))) return false;
    if (action === "move" && path.some((node) => node.matches(MOVED_BY_ARROWS))) return false;
    return this.#isHelpOpen() || !path.some((node) => node.matches(DIALOG));
  }
}

// Who has just chosen another queue or category wants to judge: the chooser lets the keys go.
export function freeKeyboard() {
  if (document.activeElement?.matches(CHOOSING)) document.activeElement.blur();
}
