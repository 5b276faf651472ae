// Lens: zoom and pan of the card's picture, and the boxes of the source file over it.

export const STEP = 1.3;
const LARGEST = 8;
export const SHARP = 1920; // pixels; loaded once somebody looks closer
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}

export class Lens {
  #stage;
  #frame;
  #scale = 1;
  #x = 0;
  #y = 0;
  #pointers = new Map();
  #spread = 0; // between two fingers
  onChange = () => {};

  constructor(stage, frame) {
    this.#stage = stage;
    this.#frame = frame;
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("dblclick", () => this.reset());
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      stage.addEventListener(end, (event) => this.#pointers.delete(event.pointerId));
    }
  }

  get zoomed() {
    return this.#scale > 1;
  }

  reset() {
    this.#place(1, 0, 0);
  }

  toggle() {
    if (this.zoomed) this.reset();
    else this.by(2);
  }

  // Zoom around a point of the stage, its middle where none is given.
  by(factor, at = { x: this.#stage.clientWidth / 2, y: this.#stage.clientHeight / 2 }) {
    const scale = Math.min(LARGEST, Math.max(1, this.#scale * factor));
    const middle = { x: this.#stage.clientWidth / 2, y: this.#stage.clientHeight / 2 };
    const grown = scale / this.#scale;
    const x = (at.x - middle.x) * (1 - grown) + this.#x * grown;
    const y = (at.y - middle.y) * (1 - grown) + this.#y * grown;
    this.#place(scale, x, y);
  }

  // The picture may leave the stage by half at most.
  #place(scale, x, y) {
    const wide = Math.max(0, (this.#frame.offsetWidth * scale) / 2);
    const high = Math.max(0, (this.#frame.offsetHeight * scale) / 2);
    this.#scale = scale;
    this.#x = scale === 1 ? 0 : Math.min(wide, Math.max(-wide, x));
    this.#y = scale === 1 ? 0 : Math.min(high, Math.max(-high, y));
    this.#frame.style.transform = scale === 1 ? "" : `translate(${this.#x}px, ${this.#y}px) scale(${scale})`;
    this.#stage.classList.toggle("zoomed", this.zoomed);
    this.onChange();
  }

  #point({ clientX, clientY }) {
    const { left, top } = this.#stage.getBoundingClientRect();
    return { x: clientX - left, y: clientY - top };
  }

  #wheel(event) {
    event.preventDefault();
    this.by(STEP ** (event.deltaY < 0 ? 1 : -1), this.#point(event));
  }

  #down(event) {
    if (event.target.closest("button")) return;
    this.#pointers.set(event.pointerId, event);
    this.#spread = this.#distance();
    if (this.zoomed || this.#pointers.size > 1) this.#stage.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    this.#pointers.set(event.pointerId, event);
    if (this.#pointers.size === 2) {
      const spread = this.#distance();
      if (this.#spread > 0) this.by(spread / this.#spread, this.#point(event));
      this.#spread = spread;
    } else if (this.zoomed) {
      this.#place(this.#scale, this.#x + event.clientX - before.clientX, this.#y + event.clientY - before.clientY);
    }
  }

  #distance() {
    const [one, two] = [...this.#pointers.values()];
    return two ? Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY) : 0;
  }
}

// The boxes as a layer that lies over the picture. Names are text, never markup.
export function boxesLayer({ width, height, boxes }, picture) {
  const wide = width ?? picture.naturalWidth;
  const high = height ?? picture.naturalHeight;
  const layer = svg("svg", { viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none", class: "boxes", "aria-hidden": "true" });
  const size = Math.max(wide, high) / 45;
  for (const { category, bbox: [x, y, w, h], crowd } of boxes) {
    layer.append(svg("rect", { x, y, width: w, height: h, class: crowd ? "crowd" : "" }));
    layer.append(svg("text", { x: x + size / 4, y: Math.max(size, y - size / 4), "font-size": size }, category));
  }
  return layer;
}
