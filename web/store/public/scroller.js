/** A list that scrolls sideways: it stops at cards, fades where it goes on, and has two arrows for those with a mouse. */

import { calmMotion, h } from "./dom.js";

const PAGE = 0.85; // of the width, so that the last card seen is the first of the next

export class Scroller {
  /** `list` is the element that scrolls. */
  constructor(list) {
    this.list = list;
    const arrow = (name, direction, glyph) =>
      h("button", { type: "button", className: "arrow", "aria-label": name, onclick: () => this.scroll(direction) }, glyph);
    this.back = arrow("Back", -1, "←");
    this.forward = arrow("Forward", 1, "→");
    this.arrows = h("div", { className: "arrows" }, this.back, this.forward);
    list.addEventListener("scroll", () => this.mark(), { passive: true });
    new ResizeObserver(() => this.mark()).observe(list);
  }

  scroll(direction) {
    this.list.scrollBy({ left: direction * this.list.clientWidth * PAGE, behavior: calmMotion.matches ? "auto" : "smooth" });
  }

  toStart() {
    if (this.list.scrollLeft > 0) this.list.scrollTo({ left: 0, behavior: calmMotion.matches ? "auto" : "smooth" });
  }

  /** Says where the list stands, for its fading edges and its arrows. */
  mark() {
    const { scrollLeft, scrollWidth, clientWidth } = this.list;
    const before = scrollLeft > 2;
    const after = scrollLeft + clientWidth < scrollWidth - 2;
    this.list.dataset.more = [before && "before", after && "after"].filter(Boolean).join(" ");
    this.back.disabled = !before;
    this.forward.disabled = !after;
    this.arrows.hidden = !before && !after;
  }
}
