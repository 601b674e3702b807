/** A quantity between two buttons. */

import { h } from "./dom.js";

/** `change(quantity)` is called at each step; `about` names the item for those who listen. */
export function stepper({ quantity, min, about, change }) {
  const value = h("output", { "aria-label": `Quantity${about}` }, quantity);
  const step = (by, name, glyph) =>
    h("button", { type: "button", className: "step", "aria-label": `${name}${about}`, onclick: () => to(quantity + by) }, glyph);
  const less = step(-1, "One less", "−");

  function to(next) {
    quantity = Math.max(min, next);
    value.textContent = quantity;
    less.disabled = quantity <= min;
    change(quantity);
  }

  less.disabled = quantity <= min;
  return h("div", { className: "stepper" }, less, value, step(1, "One more", "+"));
}
