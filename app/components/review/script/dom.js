// Elements. Names from files reach the page as text, never as markup.

export function make(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

// The parts of a template's or page's html, by the names they carry.
export function partsOf(root) {
  const parts = [...root.querySelectorAll("[data-part]")];
  if (root.matches?.("[data-part]")) parts.unshift(root);
  return Object.fromEntries(parts.map((part) => [part.dataset.part, part]));
}
