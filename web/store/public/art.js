/** Product pictures: drawn from title, brand, material and id, since the demo's items have no photographs. */

import { shapesOf } from "./art/kinds.js";
import { hash, paintsOf, surfaces } from "./art/paint.js";
import { scene } from "./art/scenes.js";

const TONES = 8;
const SHADOW = `<ellipse cx="100" cy="166" rx="66" ry="7" fill="#000" opacity=".13"/>`;

/** The backdrop's number, the same for a whole category: 0 to TONES - 1. */
const tone = (item) => hash((item.category ?? "").split(".").slice(0, 2).join(".")) % TONES;

/** Puts what all pictures refer to on the page, once. */
export function prepareArt() {
  document.body.insertAdjacentHTML("beforeend", surfaces());
}

/** The picture of an item as an `<svg>` element; decoration only, since the title always stands beside it. */
export function artwork(item) {
  const paints = paintsOf(item);
  const figure = document.createElement("span");
  figure.className = "art";
  figure.dataset.tone = tone(item);
  const drawing = scene(paints.brand) + SHADOW + shapesOf(item, paints);
  figure.innerHTML = `<svg viewBox="0 0 200 200" aria-hidden="true" focusable="false">${drawing}</svg>`;
  return figure;
}
