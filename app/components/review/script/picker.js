// Picker: a label that the model did not propose, found by typing a part of its category's name.

import { make } from "./dom.js";
import { SAID, SIGNS } from "./words.js";

const SHOWN = 50;

export class Picker {
  #dialog;
  #input;
  #list;
  #categories = [];
  #states = new Map(); // category id -> "present" or "absent"
  #found = [];
  #at = 0;
  #onPick = () => {};

  constructor(parts) {
    this.#dialog = parts.picker;
    this.#input = parts.pickerInput;
    this.#list = parts.pickerList;
    this.#input.addEventListener("input", () => this.#search());
    this.#input.addEventListener("keydown", (event) => this.#pressed(event));
    this.#list.addEventListener("click", (event) => {
      const at = [...this.#list.children].indexOf(event.target.closest("li"));
      if (at >= 0) this.#pick(at, event.shiftKey);
    });
  }

  // onPick(category, verdict) is called once, after the dialog has closed.
  open(categories, states, onPick) {
    this.#categories = categories;
    this.#states = states;
    this.#onPick = onPick;
    this.#input.value = "";
    this.#search();
    this.#dialog.showModal();
    this.#input.focus();
  }

  // Names that begin with what was typed stand before those that only contain it.
  #search() {
    const typed = this.#input.value.trim().toLowerCase();
    const places = this.#categories
      .map((category) => ({ category, place: category.name.toLowerCase().indexOf(typed) }))
      .filter(({ place }) => place >= 0);
    places.sort((one, two) => Math.min(one.place, 1) - Math.min(two.place, 1));
    this.#found = places.slice(0, SHOWN).map(({ category }) => category);
    this.#at = 0;
    this.#draw();
  }

  #draw() {
    const items = this.#found.map(({ id, name }, at) => {
      const item = make("li", name);
      item.id = `clsl-picker-${at}`;
      item.role = "option";
      item.ariaSelected = String(at === this.#at);
      const state = this.#states.get(id);
      if (state) item.append(make("small", ` ${SIGNS[state]} ${SAID[state]} already`));
      return item;
    });
    const none = make("li", "No category of that name.", "none");
    none.role = "option";
    none.ariaDisabled = "true";
    this.#list.replaceChildren(...(items.length ? items : [none]));
    this.#show();
  }

  #show() {
    const items = [...this.#list.children];
    items.forEach((item, at) => {
      item.ariaSelected = String(at === this.#at);
    });
    items[this.#at]?.scrollIntoView({ block: "nearest" });
    this.#input.setAttribute("aria-activedescendant", items[this.#at]?.id ?? "");
  }

  #pressed(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    const step = steps[event.key];
    if (step) {
      event.preventDefault();
      const count = this.#found.length;
      if (count) this.#at = (this.#at + step + count) % count;
      this.#show();
    }
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      this.#pick(this.#at, event.shiftKey);
    }
  }

  #pick(at, shift) {
    const category = this.#found[at];
    if (!category) return;
    this.#dialog.close();
    this.#onPick(category, shift ? "absent" : "present");
  }
}
