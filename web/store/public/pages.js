/** The pages: each function gives {title, placement, content, productId?} and draws nothing by itself. */

import { artwork } from "./art.js";
import { card, categoryPath, productPath } from "./card.js";
import { amount, label, price } from "./catalog.js";
import { h } from "./dom.js";

const PAGE_SIZE = 24;

const SORTS = {
  featured: ["Featured", null],
  low: ["Price, low to high", (a, b) => (a.price ?? 0) - (b.price ?? 0)],
  high: ["Price, high to low", (a, b) => (b.price ?? 0) - (a.price ?? 0)],
  name: ["Name", (a, b) => (a.title ?? "").localeCompare(b.title ?? "")],
};

export function home({ shop, banner, picks, popular }) {
  const tiles = shop.catalog.top().slice(0, 8).map(({ path, count }) => tile(shop, path, count));
  const content = [
    h("h1", { className: "sr-only" }, "Freshet store"),
    banner.element,
    picks.element,
    h("section", { "aria-labelledby": "tiles-title" }, sectionHead("tiles-title", "Shop by category"), h("ul", { className: "tiles" }, tiles)),
    h("section", { "aria-labelledby": "popular-title" }, sectionHead("popular-title", "Popular right now"), popular.element),
  ];
  return { title: "Freshet store", placement: "home", content };
}

function sectionHead(id, text) {
  return h("div", { className: "section-head" }, h("h2", { id }, text));
}

function tile(shop, path, count) {
  return h(
    "li",
    {},
    h(
      "a",
      { href: categoryPath(path), className: "tile" },
      h("span", { className: "tile-art", "aria-hidden": "true" }, shop.catalog.faces(path, 3).map(artwork)),
      h("span", { className: "tile-name" }, label(path)),
      h("span", { className: "tile-count" }, `${count} things`),
    ),
  );
}

export function category({ shop, picks }, path) {
  const items = shop.catalog.within(path);
  if (!items.length) return missing({ picks }, "There is no such category.");
  const chips = shop.catalog.children(path).map((child) => h("li", {}, h("a", { className: "chip", href: categoryPath(child.path) }, label(child.path))));
  const content = [
    crumbs(path),
    h("h1", {}, label(path)),
    chips.length > 0 && h("ul", { className: "chips", "aria-label": "Narrower" }, chips),
    grid(shop, items, "category"),
    picks.element,
  ];
  return { title: label(path), placement: "category", content };
}

function crumbs(path, last) {
  const parts = path ? path.split(".") : [];
  const links = parts.map((_, depth) => {
    const here = parts.slice(0, depth + 1).join(".");
    const current = !last && depth === parts.length - 1;
    return h("li", {}, current ? h("span", { "aria-current": "page" }, label(here)) : h("a", { href: categoryPath(here) }, label(here)));
  });
  const end = last && h("li", {}, h("span", { "aria-current": "page" }, last));
  return h("nav", { "aria-label": "Breadcrumb" }, h("ol", { className: "crumbs" }, h("li", {}, h("a", { href: "/" }, "Store")), links, end));
}

/** A grid that can be sorted and grows by a page at a time. */
function grid(shop, items, placement) {
  const list = h("ul", { className: "grid" });
  const more = h("button", { type: "button", className: "button ghost more", onclick: () => grow() });
  const count = h("p", { className: "note", role: "status" });
  const select = h("select", { "aria-label": "Sort by", onchange: () => sort() }, Object.entries(SORTS).map(([value, [name]]) => h("option", { value }, name)));
  let sorted = items;
  let shown = 0;

  function grow() {
    const next = sorted.slice(shown, shown + PAGE_SIZE);
    list.append(...next.map((item, index) => card(shop, item, () => ({ placement, position: shown - next.length + index }))));
    shown += next.length;
    more.hidden = shown >= sorted.length;
    more.textContent = `Show more (${sorted.length - shown})`;
    count.textContent = `${sorted.length} ${sorted.length === 1 ? "thing" : "things"}`;
  }

  function sort() {
    const order = SORTS[select.value][1];
    sorted = order ? [...items].sort(order) : items;
    shown = 0;
    list.replaceChildren();
    grow();
  }

  grow();
  return h("div", {}, h("div", { className: "grid-head" }, count, select), list, more);
}

export function product({ shop, picks, banner }, id) {
  const known = shop.catalog.byId.has(id);
  if (!known) return missing({ picks }, "We do not have this one any more.");
  const item = shop.catalog.item(id);
  const stocked = item.in_stock !== false;
  const added = h("span", { className: "added", role: "status" });
  const add = () => {
    shop.added(item);
    added.textContent = `In your cart: ${shop.cart.quantity(id)}`;
  };
  const content = [
    crumbs(item.category, item.title),
    h(
      "article",
      { className: "product", data: { item: id } },
      artwork(item),
      h(
        "div",
        { className: "product-copy" },
        h("p", { className: "eyebrow" }, item.brand || label(item.category)),
        h("h1", {}, item.title || label(item.category)),
        h("p", { className: "product-price" }, price(item)),
        h("p", { className: `stock ${stocked ? "yes" : "no"}` }, stocked ? "In stock, ready to go" : "Out of stock, back soon"),
        h("p", { className: "product-actions" }, h("button", { type: "button", className: "button", disabled: !stocked, onclick: add }, "Add to cart"), added),
        h(
          "dl",
          { className: "specs" },
          [["Brand", item.brand], ["Category", label(item.category)], ["Item", id], ["Returns", "30 days, free"]]
            .filter(([, value]) => value)
            .map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
        ),
      ),
    ),
    picks.element,
    banner.element,
  ];
  return { title: item.title, placement: "product", productId: id, content, shown: () => shop.viewed(item) };
}

export function search({ shop, picks }, query) {
  const found = shop.catalog.search(query);
  const heading = query ? `Results for “${query}”` : "What are you looking for?";
  const content = [
    h("h1", {}, heading),
    found.length ? grid(shop, found, "search") : query && h("p", { className: "empty" }, "Nothing matches. Try fewer words, or look at what follows."),
    picks.element,
  ];
  const shown = () => query && shop.freshet.track("search", { query, results: found.length });
  return { title: query ? `${query} — search` : "Search", placement: "search", content, shown };
}

export function cart({ shop, picks }, redraw) {
  const lines = [...shop.cart.lines].map(([id, quantity]) => ({ item: shop.catalog.item(id), quantity }));
  const total = lines.reduce((sum, { item, quantity }) => sum + (item.price ?? 0) * quantity, 0);
  const order = () => redraw(shop.checkedOut());
  const change = (item, quantity) => {
    shop.changedQuantity(item, quantity);
    redraw();
  };
  const content = [
    h("h1", {}, "Your cart"),
    lines.length
      ? h(
          "div",
          { className: "cart" },
          h("ul", { className: "lines" }, lines.map((line) => cartLine(line, change))),
          h(
            "aside",
            { className: "summary", "aria-label": "Order summary" },
            h("dl", {}, summaryLine("Subtotal", amount(total)), summaryLine("Delivery", "Free"), summaryLine("Total", amount(total), "total")),
            h("button", { type: "button", className: "button wide", onclick: order }, "Place order"),
            h("p", { className: "note" }, "A demo: no payment, no parcel."),
          ),
        )
      : h("p", { className: "empty" }, "Nothing in here yet. ", h("a", { href: "/" }, "Have a look around.")),
    picks.element,
  ];
  return { title: "Your cart", placement: "cart", content };
}

function summaryLine(term, value, className = "") {
  return h("div", { className }, h("dt", {}, term), h("dd", {}, value));
}

function cartLine({ item, quantity }, change) {
  const step = (by, name, glyph) =>
    h("button", { type: "button", className: "step", "aria-label": `${name} ${item.title}`, onclick: () => change(item, quantity + by) }, glyph);
  return h(
    "li",
    { className: "line", data: { item: item.item_id } },
    h("a", { href: productPath(item), tabIndex: -1, "aria-hidden": "true" }, artwork(item)),
    h("div", { className: "line-copy" }, h("a", { href: productPath(item) }, item.title), h("span", { className: "card-brand" }, item.brand || label(item.category))),
    h("div", { className: "stepper" }, step(-1, "One less:", "−"), h("span", { "aria-label": "Quantity" }, quantity), step(1, "One more:", "+")),
    h("span", { className: "line-price" }, amount((item.price ?? 0) * quantity)),
  );
}

export function thanks({ picks }, bought) {
  const total = bought.reduce((sum, { item, quantity }) => sum + (item.price ?? 0) * quantity, 0);
  const content = [
    h(
      "section",
      { className: "thanks" },
      h("h1", {}, "Thank you"),
      h("p", {}, `${bought.length} ${bought.length === 1 ? "line" : "lines"}, ${amount(total)}. Your order is on its way to nowhere in particular.`),
      h("ul", { className: "thanks-items", "aria-label": "What you ordered" }, bought.map(({ item, quantity }) => h("li", {}, artwork(item), h("span", {}, `${quantity} × ${item.title}`)))),
      h("a", { className: "button", href: "/" }, "Keep looking"),
    ),
    picks.element,
  ];
  return { title: "Thank you", placement: "cart", content };
}

export function missing({ picks }, text) {
  return { title: "Not found", placement: "home", content: [h("h1", {}, "Nothing here"), h("p", { className: "empty" }, text, " ", h("a", { href: "/" }, "Back to the store.")), picks.element] };
}
