/** A product as it appears in every row and grid. */

import { artwork } from "./art.js";
import { label, nameOf, price } from "./catalog.js";
import { h } from "./dom.js";

export const productPath = (item) => `/product/${encodeURIComponent(item.item_id)}`;
export const categoryPath = (path) => `/category/${encodeURIComponent(path)}`;

/** A list item; `origin()` is asked at each click, since a recommended card may have moved since it was made. */
export function card(shop, item, origin = () => ({})) {
  const available = item.in_stock !== false;
  return h(
    "li",
    { className: "card", data: { item: item.item_id } },
    h(
      "a",
      { href: productPath(item), className: "card-link", onclick: () => shop.clicked(item, origin()) },
      artwork(item),
      h("span", { className: "card-brand" }, item.brand || label(item.category)),
      h("span", { className: "card-title" }, nameOf(item)),
      h("span", { className: "card-price" }, price(item)),
      !available && h("span", { className: "badge" }, "Back soon"),
    ),
    available && quickAdd(shop, item, origin),
  );
}

function quickAdd(shop, item, origin) {
  const add = () => shop.added(item, { origin: origin() });
  const name = `Add ${item.title || label(item.category)} to cart`;
  return h("button", { type: "button", className: "quick", "aria-label": name, title: "Add to cart", onclick: add }, "+");
}
