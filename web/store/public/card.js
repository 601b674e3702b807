/** A product as it appears in every row and grid. */

import { artwork } from "./art.js";
import { label, price } from "./catalog.js";
import { h } from "./dom.js";

export const productPath = (item) => `/product/${encodeURIComponent(item.item_id)}`;
export const categoryPath = (path) => `/category/${encodeURIComponent(path)}`;

/** A list item; `origin()` is asked at each click, since a recommended card may have moved since it was made. */
export function card(shop, item, origin = () => ({})) {
  const { title, brand, category } = item;
  const unavailable = item.in_stock === false;
  return h(
    "li",
    { className: "card", data: { item: item.item_id } },
    h(
      "a",
      { href: productPath(item), className: "card-link", onclick: () => shop.clicked(item, origin()) },
      artwork(item),
      h("span", { className: "card-brand" }, brand || label(category)),
      h("span", { className: "card-title" }, title || label(category)),
      h("span", { className: "card-price" }, price(item), unavailable && h("em", {}, "Back soon")),
    ),
    !unavailable &&
      h(
        "button",
        { type: "button", className: "quick", "aria-label": `Add ${title} to cart`, title: "Add to cart", onclick: () => shop.added(item, origin()) },
        "+",
      ),
  );
}
