/** A list of recommended items that keeps the cards that stay, slides those that move and marks those that come. */

import { card } from "./card.js";
import { h, rearrange } from "./dom.js";

const NEW_MS = 2600;
const BONES = 8;

/** What an event about the item at a slate's position carries. */
export function originOf(slate, entry, placement) {
  const { position, propensity } = entry;
  const { request_id, variant, experiments } = slate;
  return { request_id, placement, variant, experiments, position, propensity };
}

export class SlateList {
  constructor(shop, placement) {
    this.shop = shop;
    this.placement = placement;
    this.element = h("ul", { className: "track", "aria-busy": "true" });
    this.cards = new Map();
    this.origins = new Map();
    this.element.append(...Array.from({ length: BONES }, skeleton));
  }

  get ids() {
    return [...this.cards.keys()];
  }

  /** Shows entries of the slate; returns whether the order or the items differ from those shown before. */
  show(slate, entries) {
    const before = this.ids;
    this.origins = new Map(entries.map((entry) => [entry.id, originOf(slate, entry, this.placement)]));
    this.cards = new Map(entries.map(({ id }) => [id, this.cards.get(id) ?? this.makeCard(id)]));
    if (!before.length) this.element.replaceChildren();
    const arrived = rearrange(this.element, [...this.cards.values()]);
    this.element.removeAttribute("aria-busy");
    if (slate.request_id) this.observe();
    if (before.length) arrived.forEach(markNew);
    return before.join() !== this.ids.join();
  }

  /** Takes out what another row shows now. */
  leaveOut(ids) {
    for (const id of ids) {
      this.cards.get(id)?.remove();
      this.cards.delete(id);
    }
  }

  makeCard(id) {
    return card(this.shop, this.shop.catalog.item(id), () => this.origins.get(id));
  }

  observe() {
    for (const [id, element] of this.cards) this.shop.freshet.observe(element, { product_id: id, ...this.origins.get(id) });
  }
}

function skeleton() {
  const line = () => h("span", { className: "bone" });
  return h("li", { className: "card skeleton", "aria-hidden": "true" }, h("span", { className: "art" }), line(), line());
}

function markNew(element) {
  element.classList.add("is-new");
  setTimeout(() => element.classList.remove("is-new"), NEW_MS);
}
