/** A category: the way to it, its narrower ones, its products, and a row. */

import { label } from "../catalog.js";
import { h } from "../dom.js";
import { listing } from "../listing.js";
import { inCategory } from "../placements.js";
import { chips, crumbs, elements, missing } from "./parts.js";

export function category(parts, path) {
  const { shop, row } = parts;
  const items = shop.catalog.within(path);
  if (!items.length) return missing(parts, "There is no such category.");
  const narrower = shop.catalog.children(path);
  const rows = [row(inCategory)];
  const content = [
    crumbs(path),
    h("h1", {}, label(path)),
    narrower.length > 0 && chips(narrower, "Narrower"),
    listing(shop, items, "category"),
    ...elements(rows),
  ];
  return { title: label(path), placement: "category", rows, content };
}
