/** The banner: the large one at home, a strip elsewhere. Its height is reserved, so that nothing jumps. */

import { artwork } from "./art.js";
import { categoryPath, productPath } from "./card.js";
import { label } from "./catalog.js";
import { calmMotion, h } from "./dom.js";

const WELCOME_FACES = 3;

export class Banner {
  constructor(shop) {
    this.shop = shop;
    this.element = h("section", { className: "banner", "aria-label": "For you now" }, h("div", { className: "banner-body skeleton" }));
    this.shownKey = "";
    this.items = [];
  }

  /** The ids of the items that are on the page by the banner. */
  get itemIds() {
    return this.element.isConnected ? this.items.map((item) => item.item_id) : [];
  }

  /** Shows the slate's banner, never with an item in `exclude`; returns whether it has changed. */
  show(slate, exclude) {
    const banner = slate.personalized_banner;
    if (!banner) return false;
    const items = this.itemsOf(banner, slate, new Set(exclude));
    const key = [banner.id, banner.headline, ...items.map((item) => item.item_id)].join("|");
    this.slate = slate;
    if (banner.product_id) this.observe(banner);
    if (key === this.shownKey) return false;
    this.items = items;
    this.element.replaceChildren(this.body(banner));
    if (this.shownKey && !calmMotion.matches) {
      this.element.firstChild.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 420, easing: "ease-out" });
    }
    this.shownKey = key;
    this.element.dataset.banner = banner.id;
    return true;
  }

  /** The item that the banner is about, else the slate's first; of a banner about nothing, one of each large category. */
  itemsOf(banner, slate, hidden) {
    const { catalog } = this.shop;
    if (!banner.category && !banner.product_id) {
      const faces = catalog.top().map(({ path }) => catalog.within(path).find(({ item_id }) => !hidden.has(item_id)));
      return faces.filter(Boolean).slice(0, WELCOME_FACES);
    }
    const ids = [banner.product_id, ...slate.ranked_feed.map(({ id }) => id)];
    const shown = ids.find((id) => id && !hidden.has(id));
    return shown ? [catalog.item(shown)] : [];
  }

  origin(banner) {
    return { request_id: this.slate.request_id, placement: "banner", variant: this.slate.variant, position: 0, banner_id: banner.id };
  }

  observe(banner) {
    if (this.slate.request_id) this.shop.freshet.observe(this.element, { product_id: banner.product_id, ...this.origin(banner) });
  }

  body(banner) {
    const item = this.items.length === 1 ? this.items[0] : null;
    const { href, name } = target(banner, item);
    const clicked = () => item && this.shop.clicked(item, this.origin(banner));
    return h(
      "div",
      { className: "banner-body" },
      h(
        "div",
        { className: "banner-copy" },
        h("p", { className: "eyebrow" }, banner.category ? label(banner.category) : "The Freshet store"),
        h("h2", {}, banner.headline),
        h("p", { className: "banner-text" }, banner.text),
        h(
          "p",
          { className: "banner-actions" },
          h("a", { className: "button", href, onclick: clicked }, name),
          item && href !== productPath(item) && h("a", { className: "quiet", href: productPath(item), onclick: clicked }, "See this one"),
        ),
      ),
      item
        ? h("a", { className: "banner-art", href: productPath(item), tabIndex: -1, "aria-hidden": "true", onclick: clicked }, artwork(item))
        : h("div", { className: "banner-art faces", "aria-hidden": "true" }, this.items.map(artwork)),
    );
  }
}

/** Where the banner's button leads, and what it says. */
function target(banner, item) {
  if (banner.id?.startsWith("cart:")) return { href: "/cart", name: "Go to your cart" };
  if (banner.category) return { href: categoryPath(banner.category), name: `Shop ${label(banner.category).toLowerCase()}` };
  if (item) return { href: productPath(item), name: "Have a look" };
  return { href: "#categories", name: "Shop by category" };
}
