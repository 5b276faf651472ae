// Words: what is said of counts, times, and of what is there or not.

export const COUNT = new Intl.NumberFormat();

// What is said of a picture and a category. A mark means the same wherever it stands.
export const SIGNS = { present: "✓", absent: "✗", skip: "–" };
export const SAID = { present: "there", absent: "not there", skip: "undecided" };

export function plural(count, word) {
  return `${COUNT.format(count)} ${word}${count === 1 ? "" : "s"}`;
}

// A time in words, as exact as it can be known.
export function about(minutes) {
  if (minutes < 1) return "under a minute";
  if (minutes < 90) return `about ${Math.round(minutes)} min`;
  return `about ${COUNT.format(Math.round(minutes / 60))} h`;
}

export function percent(value) {
  return `${Math.round(100 * value)} %`;
}

export function article(name) {
  return /^[aeiou]/i.test(name) ? "an" : "a";
}

export function opposite(state) {
  return state === "present" ? "absent" : "present";
}

// The model's number for "it is there", calibrated or not, and what it is called.
export function certainty({ score, probability }, scoreWord) {
  const calibrated = scoreWord === "probability" && probability !== null;
  const value = calibrated ? probability : score;
  return { word: calibrated ? "probability" : "score", text: calibrated ? percent(value) : value.toFixed(2), value };
}

// What the label and the model hold, in sentences: information beside the question, never a part of it.
export function belief({ state, disputes }) {
  const label = disputes ? [`The label so far says: ${SAID[opposite(state)]}`] : [];
  return [...label, `The model thinks: ${SAID[state]}`];
}
