// The keys: what each one means, and where they belong to somebody else.

import { FakeElement } from "./browser.js";

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

const { ACTIONS, FIXED, Keys, letterOf } = await import("../../app/components/review/script/keys.js");

const CHOSEN = { accept: "a", reject: "x", skip: " ", next: "Enter", undo: "Backspace", redo: "y", add: "l", others: "o" };
const MORE = { flag: "f", heat: "m", boxes: "b", zoom: "z", help: "h", default: "d" };
const KEYS = { ...CHOSEN, ...MORE };

let acted;
let keys;
let helpOpen;
let means;

beforeEach(() => {
  acted = [];
  helpOpen = false;
  means = true;
  keys = new Keys((action) => (acted.push(action), means), () => helpOpen);
  keys.configure("card", KEYS);
});

afterEach(() => keys.close());

// Whether the key was taken from the page.
function press(key, { path = [], code = "", ...more } = {}) {
  const event = new Event("keydown", { cancelable: true });
  Object.assign(event, { key, code, altKey: false, ctrlKey: false, metaKey: false, shiftKey: false, repeat: false, isComposing: false, ...more });
  event.composedPath = () => path;
  document.dispatchEvent(event);
  return event.defaultPrevented;
}

for (const mode of ["card", "grid"]) {
  test(`every action of the ${mode} has its key, and one meaning`, () => {
    keys.configure(mode, KEYS);
    for (const action of Object.keys(ACTIONS[mode])) assert.ok(press(KEYS[action]), action);
    assert.deepEqual(acted, Object.keys(ACTIONS[mode]));
    assert.ok(FIXED[mode]);
  });
}

test("a is there and x is not there, in both modes and in the same words", () => {
  for (const actions of Object.values(ACTIONS)) {
    assert.match(actions.accept, /^it is there/);
    assert.match(actions.reject, /^it is not there/);
  }
});

test("capital letters and other alphabets are the same keys", () => {
  press("A");
  press("ф", { code: "KeyA" });
  press("α", { code: "KeyA" });
  assert.deepEqual(acted, ["accept", "accept", "accept"]);
  assert.equal(letterOf({ key: "Enter", code: "Enter" }), "Enter");
});

test("changed keys count, the earlier ones mean nothing", () => {
  keys.configure("card", { ...KEYS, accept: "j" });
  assert.ok(press("j"));
  assert.ok(!press("a"));
  assert.deepEqual(acted, ["accept"]);
});

test("digits are the card's, the grid has none", () => {
  for (const digit of "123456789") assert.ok(press(digit));
  assert.ok(!press("0"));
  keys.configure("grid", KEYS);
  assert.ok(!press("1"));
  assert.deepEqual(acted, Array(9).fill("digit"));
});

test("with a modifier they are the browser's, but for undo, redo and all", () => {
  const control = { ctrlKey: true };
  assert.ok(!press("a", { altKey: true }));
  assert.ok(!press("a", control));
  assert.ok(press("z", control));
  assert.ok(press("Z", { ...control, shiftKey: true }));
  assert.ok(press("y", { metaKey: true }));
  keys.configure("grid", KEYS);
  assert.ok(press("a", control));
  assert.deepEqual(acted, ["undo", "redo", "redo", "all"]);
});

test("whoever types, chooses or has a dialog open keeps the keys", () => {
  const elsewhere = ["textarea", "select", "[role=combobox]", "dialog[open]", "[role=alertdialog]:not(dialog)"];
  for (const kind of elsewhere) assert.ok(!press("a", { path: [new FakeElement(kind), new FakeElement()] }), kind);
  const editable = new FakeElement();
  editable.isContentEditable = true;
  assert.ok(!press("a", { path: [editable] }));
  assert.ok(!press(" ", { path: [new FakeElement("button")] }));
  assert.ok(!press("ArrowLeft", { path: [new FakeElement("[role=slider]")] }));
  assert.deepEqual(acted, []);
  assert.ok(press("a", { path: [new FakeElement("button")] }));
});

test("what stands in a closed dialog counts for nothing", () => {
  const path = [new FakeElement("textarea"), new FakeElement("dialog:not([open])")];
  assert.ok(press("a", { path }));
});

test("with the help open its dialog is ours", () => {
  helpOpen = true;
  assert.ok(press("h", { path: [new FakeElement("dialog[open]")] }));
});

test("a key held down judges once; arrows go on", () => {
  assert.ok(press("a", { repeat: true }));
  assert.ok(press("ArrowRight", { repeat: true }));
  assert.deepEqual(acted, ["move"]);
});

test("a key that means nothing now is left to the page", () => {
  means = false;
  assert.ok(!press("a"));
  assert.ok(!press("q"));
  assert.ok(!press("a", { isComposing: true }));
  assert.deepEqual(acted, ["accept"]);
});

test("closed, nobody listens", () => {
  keys.close();
  assert.ok(!press("a"));
  assert.deepEqual(acted, []);
});
