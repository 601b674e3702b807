/** One row of a page: its question to the API, its title, and its cards. */

import { label } from "./catalog.js";
import { announce, h } from "./dom.js";
import { Scroller } from "./scroller.js";
import { SlateList } from "./slate_list.js";

const LENGTH = 12;
const SPARE = 3; // the banner may show some of them
let made = 0;

export class Row {
  /** @param {{placement: string, title: string, productId?: string, filter?: string, personal?: boolean, own?: boolean, late?: boolean}} spec */
  constructor(shop, spec) {
    this.shop = shop;
    this.spec = spec;
    this.list = new SlateList(shop, spec.placement);
    this.scroller = new Scroller(this.list.element);
    const id = `row-${(made += 1)}`;
    this.heading = h("h2", { id }, spec.title);
    this.note = spec.personal && h("p", { className: "note" });
    this.element = h(
      "section",
      { className: "row", "aria-labelledby": id, data: { placement: spec.placement } },
      h("div", { className: "section-head" }, h("div", {}, this.heading, this.note), this.scroller.arrows),
      this.list.element,
    );
    this.element.hidden = Boolean(spec.late);
  }

  get ids() {
    return this.list.ids;
  }

  /** The answer for this row, without the items in `exclude`; null when there is none. */
  ask(exclude) {
    const { placement, productId, filter } = this.spec;
    return this.shop.freshet.recommend({ placement, productId, filter, k: LENGTH + SPARE, exclude });
  }

  /** The entries of a slate that this row may show. */
  entriesOf(slate, exclude) {
    if (this.spec.own && isInPlace(slate, this.spec.placement)) return [];
    if (this.shop.decided().includes(slate.about)) return []; // "because you viewed" the thing that was bought
    const hidden = new Set(exclude);
    return slate.ranked_feed.filter(({ id }) => !hidden.has(id)).slice(0, LENGTH);
  }

  /** Shows the slate without the items in `exclude`; returns whether the row has changed. */
  show(slate, exclude) {
    const wasShown = this.ids.length > 0;
    const changed = this.list.show(slate, this.entriesOf(slate, exclude));
    if (slate.title && !this.spec.filter) this.heading.textContent = slate.title;
    if (this.note) this.note.textContent = reason(slate);
    this.element.dataset.requestId = slate.request_id ?? "";
    this.settle();
    if (changed) this.scroller.toStart();
    if (changed && wasShown && this.spec.personal) announce("Recommendations have changed");
    return changed;
  }

  /** A row without cards leaves the page. */
  settle() {
    this.element.hidden = this.ids.length === 0;
    this.scroller.mark();
  }

  leaveOut(ids) {
    this.list.leaveOut(ids);
  }
}

/** Whether the answer is that of another placement, or of what is popular in its place. */
function isInPlace(slate, placement) {
  return slate.served_by === "trending" || (slate.placement ?? placement) !== placement;
}

function reason(slate) {
  if (slate.served_by === "store") return "The recommender is away. Meanwhile, from the shelves.";
  if (slate.profile?.found === false && !slate.client?.included.length) return "What others like, until you have looked around.";
  const category = slate.personalized_banner?.category;
  return category ? `Following your interest in ${label(category).toLowerCase()}.` : "Following what you do here.";
}
