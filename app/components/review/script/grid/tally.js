// Tally: what storing the page would do with each of its pictures, and how that is said.

import { SIGNS } from "../words.js";

// The cells of a page by what becomes of them. Nothing is stored of what nobody saw.
export function tally(cells, rest) {
  const groups = { present: [], absent: [], skip: [], broken: [], gone: [], loading: [], unseen: [] };
  for (const cell of cells) groups[fate(cell, rest)].push(cell);
  return groups;
}

function fate(cell, rest) {
  if (cell.gone) return "gone";
  if (cell.broken) return "broken";
  if (cell.mark === "skip") return "skip";
  if (cell.seen) return cell.mark || rest;
  return cell.picture.state === "ready" ? "unseen" : "loading";
}

export function counts(groups) {
  return Object.fromEntries(Object.entries(groups).map(([name, cells]) => [name, cells.length]));
}

// "Store 57 ✓ present, 3 ✗ absent".
export function storing({ present, absent, loading, unseen }, size) {
  const parts = Object.entries({ present, absent }).filter(([, count]) => count);
  const said = parts.map(([state, count]) => `${count} ${SIGNS[state]} ${state}`).join(", ");
  const waits = loading + unseen === size;
  return said || waits ? `Store ${said || "…"}` : "Next page, nothing to store";
}

// What stays behind, and why.
export function remaining({ loading, unseen, skip, broken, gone }) {
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
