/** What the API recommends, on the page: the row, the popular grid and the banner, changed in place. */

import { artwork } from "./art.js";
import { card, categoryPath, productPath } from "./card.js";
import { label } from "./catalog.js";
import { announce, calmMotion, h, rearrange } from "./dom.js";

const NEW_MS = 2600;

/** What an event about the item at a slate's position carries. */
export function originOf(slate, entry, placement) {
  const { position, propensity } = entry;
  return { request_id: slate.request_id, placement, variant: slate.variant, position, propensity };
}

/** A list of recommended items that keeps the cards that stay, slides those that move and marks those that come. */
export class SlateList {
  constructor(shop, className) {
    this.shop = shop;
    this.element = h("ul", { className, "aria-busy": "true" });
    this.cards = new Map();
    this.origins = new Map();
    this.element.append(...Array.from({ length: 8 }, skeleton));
  }

  /** Shows the slate; returns whether the order or the items differ from what was shown before. */
  show(slate, placement) {
    const before = [...this.cards.keys()];
    const feed = slate.ranked_feed;
    this.origins = new Map(feed.map((entry) => [entry.id, originOf(slate, entry, placement)]));
    this.cards = new Map(feed.map(({ id }) => [id, this.cards.get(id) ?? this.makeCard(id)]));
    if (!before.length) this.element.replaceChildren();
    const arrived = rearrange(this.element, [...this.cards.values()]);
    this.element.removeAttribute("aria-busy");
    for (const [id, element] of this.cards) this.watch(id, element, slate);
    if (before.length) arrived.forEach(markNew);
    return before.join() !== feed.map(({ id }) => id).join();
  }

  makeCard(id) {
    return card(this.shop, this.shop.catalog.item(id), () => this.origins.get(id) ?? {});
  }

  watch(id, element, slate) {
    if (slate.request_id) this.shop.freshet.observe(element, { product_id: id, ...this.origins.get(id) });
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

const HEADINGS = {
  category: "Picked for you",
  search: "Picked for you",
  home: "Picked for you",
  product: "You may also like",
  cart: "Before you go",
};

/** The recommendation row: one list that scrolls sideways and follows the visitor from page to page. */
export class Picks {
  constructor(shop) {
    this.list = new SlateList(shop, "track");
    this.heading = h("h2", { id: "picks-title" });
    this.note = h("p", { className: "note" });
    const arrow = (name, direction, glyph) =>
      h("button", { type: "button", className: "arrow", "aria-label": name, onclick: () => this.scroll(direction) }, glyph);
    this.element = h(
      "section",
      { className: "picks", "aria-labelledby": "picks-title" },
      h("div", { className: "section-head" }, h("div", {}, this.heading, this.note), h("div", { className: "arrows" }, arrow("Back", -1, "←"), arrow("Forward", 1, "→"))),
      this.list.element,
    );
    this.place("home");
  }

  place(placement) {
    this.placement = placement;
    this.element.dataset.placement = placement;
    this.heading.textContent = HEADINGS[placement];
  }

  scroll(direction) {
    const { element } = this.list;
    element.scrollBy({ left: direction * element.clientWidth * 0.8, behavior: calmMotion.matches ? "auto" : "smooth" });
  }

  show(slate) {
    const changed = this.list.show(slate, this.placement);
    this.note.textContent = reason(slate);
    if (changed && this.list.element.scrollLeft > 0) this.list.element.scrollTo({ left: 0, behavior: "smooth" });
    this.element.dataset.requestId = slate.request_id ?? "";
    if (changed && this.shown) announce("Recommendations have changed");
    this.shown = true;
    return changed;
  }
}

function reason(slate) {
  if (slate.served_by === "store") return "The recommender is away. Meanwhile, from the shelves.";
  if (slate.profile?.found === false && !slate.client?.included.length) return "What others like, until you have looked around.";
  const category = slate.personalized_banner?.category;
  return category ? `Following your interest in ${label(category).toLowerCase()}.` : "Following what you do here.";
}

/** The banner: the large one at home, a strip elsewhere. Its height is reserved, so that nothing jumps. */
export class Banner {
  constructor(shop) {
    this.shop = shop;
    this.element = h("section", { className: "banner", "aria-label": "For you now" }, h("div", { className: "banner-body skeleton" }));
    this.shownKey = "";
  }

  show(slate) {
    const banner = slate.personalized_banner;
    if (!banner) return false;
    const key = [banner.id, banner.headline, banner.product_id].join("|");
    this.slate = slate;
    if (banner.product_id) this.observe(banner);
    if (key === this.shownKey) return false;
    this.element.replaceChildren(this.body(banner));
    if (this.shownKey && !calmMotion.matches) {
      this.element.firstChild.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 420, easing: "ease-out" });
    }
    this.shownKey = key;
    this.element.dataset.banner = banner.id;
    return true;
  }

  origin(banner) {
    return { request_id: this.slate.request_id, placement: "banner", variant: this.slate.variant, position: 0, banner_id: banner.id };
  }

  observe(banner) {
    if (this.slate.request_id) this.shop.freshet.observe(this.element, { product_id: banner.product_id, ...this.origin(banner) });
  }

  body(banner) {
    const pictured = banner.product_id || this.slate.ranked_feed[0]?.id; // a banner about nothing shows the first pick
    const item = pictured ? this.shop.catalog.item(pictured) : null;
    const { category } = banner;
    const clicked = () => item && this.shop.clicked(item, this.origin(banner));
    const target = category ? categoryPath(category) : item ? productPath(item) : "/";
    return h(
      "div",
      { className: "banner-body" },
      h(
        "div",
        { className: "banner-copy" },
        h("p", { className: "eyebrow" }, category ? label(category) : "The Freshet store"),
        h("h2", {}, banner.headline),
        h("p", { className: "banner-text" }, banner.text),
        h("p", { className: "banner-actions" },
          h("a", { className: "button", href: target, onclick: clicked }, category ? `Shop ${label(category).toLowerCase()}` : "Have a look"),
          item && category && h("a", { className: "quiet", href: productPath(item), onclick: clicked }, "See this one"),
        ),
      ),
      item && h("a", { className: "banner-art", href: productPath(item), tabIndex: -1, "aria-hidden": "true", onclick: clicked }, artwork(item)),
    );
  }
}
