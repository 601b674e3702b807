/** Parts that several pages have. */

import { artwork } from "../art.js";
import { categoryPath } from "../card.js";
import { counted, label } from "../catalog.js";
import { h } from "../dom.js";
import { forYou, trending } from "../placements.js";

const FACES = 3;

export function sectionHead(id, text) {
  return h("div", { className: "section-head" }, h("h2", { id }, text));
}

/** The way to a category, or to an item (`last`) in it. */
export function crumbs(path, last) {
  const parts = path ? path.split(".") : [];
  const links = parts.map((_, depth) => {
    const here = parts.slice(0, depth + 1).join(".");
    const current = !last && depth === parts.length - 1;
    return h("li", {}, current ? h("span", { "aria-current": "page" }, label(here)) : h("a", { href: categoryPath(here) }, label(here)));
  });
  const end = last && h("li", {}, h("span", { "aria-current": "page" }, last));
  return h("nav", { "aria-label": "Breadcrumb" }, h("ol", { className: "crumbs" }, h("li", {}, h("a", { href: "/" }, "Store")), links, end));
}

/** Links to categories: [{path}]. */
export function chips(categories, name) {
  const links = categories.map(({ path }) => h("li", {}, h("a", { className: "chip", href: categoryPath(path) }, label(path))));
  return h("ul", { className: "chips", "aria-label": name }, links);
}

/** The store's first categories with a few of their items, for a page that must lead on. */
export function categoryTiles({ catalog }) {
  return h("ul", { className: "tiles" }, catalog.top().slice(0, 8).map((category) => tile(catalog, category)));
}

function tile(catalog, { path, count }) {
  return h(
    "li",
    {},
    h(
      "a",
      { href: categoryPath(path), className: "tile" },
      h("span", { className: "tile-art", "aria-hidden": "true" }, catalog.faces(path, FACES).map(artwork)),
      h("span", { className: "tile-name" }, label(path)),
      h("span", { className: "tile-count" }, counted(count)),
    ),
  );
}

/** An address that leads nowhere. */
export function missing({ row }, text) {
  const rows = [row(forYou), row(trending)];
  const words = h("p", { className: "empty" }, text, " ", h("a", { href: "/" }, "Back to the store."));
  return { title: "Not found", placement: "home", rows, content: [h("h1", {}, "Nothing here"), words, ...elements(rows)] };
}

/** The rows as they stand on the page, one under the other. */
export const elements = (rows) => rows.map(({ element }) => element);
