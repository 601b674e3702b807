/** A category: the way to it, its narrower ones, what is trending in it, its products, and what is picked. */

import { label } from "../catalog.js";
import { h } from "../dom.js";
import { listing } from "../listing.js";
import { inCategory, trendingIn } from "../placements.js";
import { chips, crumbs, missing } from "./parts.js";

export function category(parts, path) {
  const { shop, row } = parts;
  const items = shop.catalog.within(path);
  if (!items.length) return missing(parts, "There is no such category.");
  const narrower = shop.catalog.children(path);
  const rows = [trendingIn(path), inCategory].map(row);
  const [trending, picks] = rows;
  const content = [
    crumbs(path),
    h("h1", {}, label(path)),
    narrower.length > 0 && chips(narrower, "Narrower"),
    trending.element,
    listing(shop, items, "category"),
    picks.element,
  ];
  return { title: label(path), placement: "category", rows, content };
}
