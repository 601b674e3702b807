/** A grid of products that can be filtered and sorted, and grows by a page at a time. Its state is in the address. */

import { card } from "./card.js";
import { counted } from "./catalog.js";
import { h } from "./dom.js";
import { filterBar, passes, readFilters, writeFilters } from "./filters.js";

const PAGE_SIZE = 24;

const SORTS = {
  featured: ["Featured", null],
  low: ["Price, low to high", (a, b) => (a.price ?? 0) - (b.price ?? 0)],
  high: ["Price, high to low", (a, b) => (b.price ?? 0) - (a.price ?? 0)],
  name: ["Name", (a, b) => (a.title ?? "").localeCompare(b.title ?? "")],
};

export function listing(shop, items, placement) {
  const filters = readFilters(location.search);
  const list = h("ul", { className: "grid" });
  const more = h("button", { type: "button", className: "button ghost more", onclick: () => grow() });
  const count = h("p", { className: "count", role: "status" });
  const none = h("p", { className: "empty" }, "No product passes these filters.");
  const sorts = Object.entries(SORTS).map(([value, [name]]) => h("option", { value, selected: value === filters.sort }, name));
  const sort = h("select", { "aria-label": "Sort by", onchange: () => change({ sort: sort.value }) }, sorts);
  const bar = filterBar(items, filters, change);
  let found = [];
  let shown = 0;

  function change(changed) {
    Object.assign(filters, changed);
    history.replaceState(history.state, "", writeFilters(location.href, filters));
    draw();
  }

  function draw() {
    const order = SORTS[filters.sort]?.[1];
    found = items.filter((item) => passes(item, filters));
    if (order) found.sort(order);
    shown = 0;
    list.replaceChildren();
    count.textContent = counted(found.length, "product");
    none.hidden = found.length > 0;
    grow();
  }

  function grow() {
    const first = shown;
    const next = found.slice(first, first + PAGE_SIZE);
    list.append(...next.map((item, index) => card(shop, item, () => ({ placement, position: first + index }))));
    shown += next.length;
    more.hidden = shown >= found.length;
    more.textContent = `Show more (${found.length - shown})`;
  }

  draw();
  return h("section", { className: "listing", "aria-label": "Products" }, h("div", { className: "listing-head" }, bar, count, sort), list, none, more);
}
