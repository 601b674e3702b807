/** The cart, and the page after an order. */

import { artwork } from "../art.js";
import { productPath } from "../card.js";
import { amount, counted, label, nameOf } from "../catalog.js";
import { h } from "../dom.js";
import { besideCart, trending, withCart } from "../placements.js";
import { stepper } from "../stepper.js";
import { elements } from "./parts.js";

const totalOf = (lines) => lines.reduce((sum, { item, quantity }) => sum + (item.price ?? 0) * quantity, 0);
const piecesOf = (lines) => lines.reduce((sum, { quantity }) => sum + quantity, 0);

export function cart({ shop, row }, redraw) {
  const lines = [...shop.cart.lines].map(([id, quantity]) => ({ item: shop.catalog.item(id), quantity }));
  const rows = (lines.length ? [withCart, besideCart] : [trending]).map(row);
  const content = [h("h1", {}, "Your cart"), lines.length ? order(shop, lines, redraw) : empty(), ...elements(rows)];
  return { title: "Your cart", placement: "cart", rows, content };
}

function empty() {
  return h("p", { className: "empty" }, "Nothing in here yet. ", h("a", { href: "/" }, "Have a look around."));
}

function order(shop, lines, redraw) {
  const change = (item, quantity) => {
    shop.changedQuantity(item, quantity);
    redraw();
  };
  const total = amount(totalOf(lines));
  return h(
    "div",
    { className: "cart" },
    h("ul", { className: "lines" }, lines.map((line) => cartLine(line, change))),
    h(
      "aside",
      { className: "summary", "aria-label": "Order summary" },
      h("dl", {}, summaryLine(counted(piecesOf(lines)), total), summaryLine("Delivery", "Free"), summaryLine("Total", total, "total")),
      h("button", { type: "button", className: "button wide", onclick: () => redraw(shop.checkedOut()) }, "Place order"),
      h("p", { className: "note" }, "A demo: no payment, no parcel."),
    ),
  );
}

function summaryLine(term, value, className = "") {
  return h("div", { className }, h("dt", {}, term), h("dd", {}, value));
}

function cartLine({ item, quantity }, change) {
  return h(
    "li",
    { className: "line", data: { item: item.item_id } },
    h("a", { href: productPath(item), tabIndex: -1, "aria-hidden": "true" }, artwork(item)),
    h(
      "div",
      { className: "line-copy" },
      h("a", { href: productPath(item) }, nameOf(item)),
      h("span", { className: "card-brand" }, item.brand || label(item.category)),
      h("button", { type: "button", className: "remove", "aria-label": `Remove ${item.title}`, onclick: () => change(item, 0) }, "Remove"),
    ),
    stepper({ quantity, min: 0, about: `: ${item.title}`, change: (next) => change(item, next) }),
    h("span", { className: "line-price" }, amount((item.price ?? 0) * quantity)),
  );
}

export function thanks({ row }, bought) {
  const rows = [row(trending)];
  const ordered = bought.map(({ item, quantity }) => h("li", {}, artwork(item), h("span", {}, `${quantity} × ${nameOf(item)}`)));
  const content = [
    h(
      "section",
      { className: "thanks" },
      h("h1", {}, "Thank you"),
      h("p", {}, `${counted(piecesOf(bought))}, ${amount(totalOf(bought))}. A demo sends no parcel, but the store has learnt from your order.`),
      h("ul", { className: "thanks-items", "aria-label": "Your order" }, ordered),
      h("a", { className: "button", href: "/" }, "Continue shopping"),
    ),
    ...elements(rows),
  ];
  return { title: "Thank you", placement: "cart", rows, content };
}
