/** A product: picture, price, description, quantity and facts, then the rows that lead on. */

import { artwork } from "../art.js";
import { label, nameOf, price } from "../catalog.js";
import { h } from "../dom.js";
import { boughtWith, similarTo, viewedBefore } from "../placements.js";
import { stepper } from "../stepper.js";
import { crumbs, elements, missing } from "./parts.js";

export function product(parts, id) {
  const { shop, row, banner } = parts;
  if (!shop.catalog.byId.has(id)) return missing(parts, "We do not have this one any more.");
  const item = shop.catalog.item(id);
  const rows = [similarTo, boughtWith, viewedBefore].map((spec) => row(spec(id)));
  const content = [
    crumbs(item.category, nameOf(item)),
    h("article", { className: "product", data: { item: id } }, artwork(item), copy(shop, item)),
    ...elements(rows),
    banner.element,
  ];
  return { title: item.title, placement: "product", productId: id, rows, content, shown: () => shop.viewed(item) };
}

function copy(shop, item) {
  const stocked = item.in_stock !== false;
  const description = h("p", { className: "description" });
  const facts = h("dl", { className: "specs" });
  shop.catalog.details(item.item_id).then((details) => {
    description.textContent = details.description;
    facts.replaceChildren(...factsOf(item, details.attributes));
  });
  return h(
    "div",
    { className: "product-copy" },
    h("p", { className: "eyebrow" }, item.brand || label(item.category)),
    h("h1", {}, nameOf(item)),
    h("p", { className: "product-price" }, price(item)),
    h("p", { className: `stock ${stocked ? "yes" : "no"}` }, stocked ? "In stock" : "Out of stock, back soon"),
    description,
    purchase(shop, item, stocked),
    stocked && h("ul", { className: "promises" }, h("li", {}, "Free delivery in 2 to 4 working days"), h("li", {}, "30 days to send it back, free of charge")),
    facts,
  );
}

function purchase(shop, item, stocked) {
  let quantity = 1;
  const added = h("span", { className: "added", role: "status" });
  const choose = (chosen) => {
    quantity = chosen;
  };
  const add = () => {
    shop.added(item, { quantity });
    added.replaceChildren(`In your cart: ${shop.cart.quantity(item.item_id)} `, h("a", { href: "/cart" }, "Go to cart"));
  };
  return h(
    "div",
    { className: "product-actions" },
    stocked && stepper({ quantity, min: 1, about: "", change: choose }),
    h("button", { type: "button", className: "button", disabled: !stocked, onclick: add }, "Add to cart"),
    added,
  );
}

function factsOf(item, attributes) {
  const known = Object.entries(attributes).map(([name, value]) => [name, value[0].toUpperCase() + value.slice(1)]);
  const facts = [...known, ["category", label(item.category)], ["item", item.item_id]];
  return facts.map(([name, value]) => h("div", {}, h("dt", {}, label(name)), h("dd", {}, value)));
}
