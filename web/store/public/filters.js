/** The filters of a listing: brands, a price range, in stock. */

import { h } from "./dom.js";

const NOTHING = { brands: [], min: "", max: "", stocked: false };

/** The filters and the order that an address asks for, from its query. */
export function readFilters(query) {
  const asked = new URLSearchParams(query);
  return {
    brands: asked.getAll("brand"),
    min: asked.get("min") ?? "",
    max: asked.get("max") ?? "",
    stocked: asked.has("stocked"),
    sort: asked.get("sort") ?? "featured",
  };
}

/** The address with the filters in its query. */
export function writeFilters(address, { brands, min, max, stocked, sort }) {
  const url = new URL(address);
  for (const name of ["brand", "min", "max", "stocked", "sort"]) url.searchParams.delete(name);
  for (const brand of brands) url.searchParams.append("brand", brand);
  if (min) url.searchParams.set("min", min);
  if (max) url.searchParams.set("max", max);
  if (stocked) url.searchParams.set("stocked", "");
  if (sort !== "featured") url.searchParams.set("sort", sort);
  return url.href;
}

/** Whether an item may be shown; a price that is not a number bounds nothing. */
export function passes(item, { brands, min, max, stocked }) {
  if (brands.length && !brands.includes(item.brand)) return false;
  if (stocked && item.in_stock === false) return false;
  return !(item.price < parseFloat(min)) && !(item.price > parseFloat(max));
}

/** The controls; `change(part)` takes the filters that differ. */
export function filterBar(items, filters, change) {
  const bar = h("div", { className: "filters", role: "group", "aria-label": "Filters" });

  function draw() {
    bar.replaceChildren(...[brandFilter(items, filters, update), priceFilter(filters, update), stockFilter(filters, update), clear].filter(Boolean));
    mark();
  }

  function mark() {
    const { brands, min, max, stocked } = filters;
    clear.hidden = !(brands.length || min || max || stocked);
    bar.querySelector(".brand-filter summary")?.toggleAttribute("data-on", brands.length > 0);
    bar.querySelector(".price-filter summary").toggleAttribute("data-on", Boolean(min || max));
  }

  function update(changed) {
    change(changed);
    mark();
  }

  function reset() {
    change({ ...NOTHING });
    draw();
  }

  const clear = h("button", { type: "button", className: "clear", onclick: reset }, "Clear");
  draw();
  return bar;
}

function brandFilter(items, filters, update) {
  const names = [...new Set(items.map(({ brand }) => brand).filter(Boolean))].sort();
  if (names.length < 2) return null;
  const toggle = (name, on) => update({ brands: on ? [...filters.brands, name] : filters.brands.filter((brand) => brand !== name) });
  const boxes = names.map((name) =>
    h("label", {}, h("input", { type: "checkbox", checked: filters.brands.includes(name), onchange: (event) => toggle(name, event.target.checked) }), name),
  );
  return dropdown("brand-filter", "Brand", boxes);
}

function priceFilter(filters, update) {
  const bound = (name, text) =>
    h("label", {}, text, h("input", { type: "number", min: 0, inputMode: "decimal", value: filters[name], onchange: (event) => update({ [name]: event.target.value }) }));
  return dropdown("price-filter", "Price", [bound("min", "From $"), bound("max", "To $")]);
}

function stockFilter(filters, update) {
  return h("label", { className: "chip check" }, h("input", { type: "checkbox", checked: filters.stocked, onchange: (event) => update({ stocked: event.target.checked }) }), "In stock");
}

/** A summary that opens over the page; it closes with Escape and when the focus or a click goes elsewhere. */
function dropdown(className, title, content) {
  const close = () => {
    details.open = false;
  };
  const onKey = (event) => {
    if (event.key !== "Escape") return;
    close();
    details.querySelector("summary").focus();
  };
  const onLeave = ({ relatedTarget }) => relatedTarget && !details.contains(relatedTarget) && close();
  const details = h(
    "details",
    { className: `filter ${className}`, name: "filter", onkeydown: onKey, onfocusout: onLeave },
    h("summary", { className: "chip" }, title),
    h("div", { className: "filter-options", tabIndex: -1 }, content),
  );
  return details;
}
