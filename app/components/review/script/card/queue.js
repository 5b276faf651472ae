// Card queue: cards held ready in the browser, the first ones with their pictures decoded.

import { Feed } from "../queue/feed.js";
import { Picture } from "../queue/picture.js";

const FETCH = 32; // cards asked for at once
const LOW = 8; // held cards below which more are fetched

// One question about a card's picture: the proposal it was fetched for, or another of the image.
// `verdict` is what was answered here, "" before; `decision` the id of that answer.
function makeChip(api, raw) {
  const heatmap = raw.heatmap_url ? new Picture(api, raw.heatmap_url) : null;
  return { ...raw, heatmap, verdict: "", decision: null };
}

// Cards in the order they will be shown; the first is the current one.
export class CardQueue extends Feed {
  #api;
  prefetch = 6;
  heat = false;
  onLost = () => {}; // the current card is shown by somebody else now

  constructor(api, outbox) {
    super(api, outbox, FETCH);
    this.#api = api;
  }

  get current() {
    return this.items[0] ?? null;
  }

  // A question was answered, or its answer taken back.
  answered(chip, answered) {
    if (this.done.has(chip.proposal_id) === answered) return;
    if (answered) this.done.add(chip.proposal_id);
    else this.done.delete(chip.proposal_id);
    this.count(answered ? -1 : 1);
  }

  // Leave the current card. fill() is for the caller, once the verdict is pending.
  take() {
    return this.items.shift();
  }

  // An earlier card is shown again at once.
  putBack(card) {
    this.items = [card, ...this.items.filter((other) => other !== card)];
    this.#watch(card);
    this.load();
  }

  // A card as the server describes it.
  hold(raw) {
    const { others = [], ...own } = raw;
    const chips = [own, ...others].map((chip) => makeChip(this.#api, chip));
    return this.#watch({ ...own, chips, added: [], picture: new Picture(this.#api, raw.image_url) });
  }

  // Questions that came along with an earlier card of the picture are not asked twice.
  make(raw, isKnown) {
    return this.hold({ ...raw, others: (raw.others ?? []).filter((other) => !isKnown(other)) });
  }

  has(proposalId) {
    return this.find(proposalId) !== null;
  }

  // The card that asks this question.
  find(proposalId) {
    return this.items.find((card) => card.chips.some((chip) => chip.proposal_id === proposalId)) ?? null;
  }

  // These questions need no answer here.
  remove(proposals) {
    for (const id of proposals) this.done.add(id);
    for (const card of this.items) {
      const rest = card.chips.filter((chip) => chip.verdict || !proposals.has(chip.proposal_id));
      if (rest.length < card.chips.length) card.chips = rest;
    }
    const gone = this.items.filter((card) => !card.chips.some((chip) => !chip.verdict));
    gone.forEach((card) => this.drop(card));
    this.items = this.items.filter((card) => !gone.includes(card));
    this.fill();
  }

  lost(proposals) {
    const { current } = this;
    this.remove(proposals);
    if (current && current !== this.current) this.onLost(current);
    this.onChange();
  }

  drop(card) {
    card.picture.drop();
    card.chips.forEach((chip) => chip.heatmap?.drop());
  }

  get wanted() {
    return LOW;
  }

  get kept() {
    return 1;
  }

  get asked() {
    return this.items.flatMap((card) => card.chips.filter((chip) => !chip.verdict)).map((chip) => chip.proposal_id);
  }

  get pictures() {
    return this.items.slice(0, this.prefetch + 1).flatMap((card) => this.#picturesOf(card));
  }

  // With heat maps on also those of the questions that will be asked first.
  #picturesOf(card) {
    const asked = card.chips.filter((chip) => !chip.verdict && chip.heatmap).slice(0, 2);
    return this.heat ? [card.picture, ...asked.map((chip) => chip.heatmap)] : [card.picture];
  }

  #watch(card) {
    for (const part of [card.picture, ...card.chips.map((chip) => chip.heatmap)].filter(Boolean)) {
      part.onSettled = () => {
        this.load();
        if (card === this.current) this.onChange();
      };
    }
    return card;
  }
}
