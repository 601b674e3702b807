/** The results of a search, or what to do when there are none. */

import { h } from "../dom.js";
import { listing } from "../listing.js";
import { besideResults, trending } from "../placements.js";
import { chips, elements } from "./parts.js";

export function search({ shop, row }, query) {
  const found = shop.catalog.search(query);
  const rows = [row(found.length ? besideResults : trending)];
  const content = [
    h("h1", {}, query ? `Results for “${query}”` : "What are you looking for?"),
    found.length ? listing(shop, found, "search") : nothingFound(shop, query),
    ...elements(rows),
  ];
  const shown = () => query && shop.freshet.track("search", { query, results: found.length });
  return { title: query ? `${query} — search` : "Search", placement: "search", rows, content, shown };
}

function nothingFound({ catalog }, query) {
  const text = query ? "No product matches all of these words. Try fewer, or another spelling, or start from a category:" : "Try a word such as lamp, or start from a category:";
  return h("section", { className: "nothing", "aria-label": "No results" }, h("p", {}, text), chips(catalog.top().slice(0, 8), "Categories"));
}
