/** The first page: banner, rows and categories. */

import { h } from "../dom.js";
import { becauseYouViewed, forYou, recentlyViewed, trending } from "../placements.js";
import { categoryTiles, elements, sectionHead } from "./parts.js";

export function home({ shop, banner, row }) {
  const rows = [forYou, becauseYouViewed, trending, recentlyViewed].map(row);
  const [picks, ...others] = rows;
  const content = [
    h("h1", { className: "sr-only" }, "Freshet store"),
    banner.element,
    picks.element,
    h("section", { id: "categories", "aria-labelledby": "tiles-title" }, sectionHead("tiles-title", "Shop by category"), categoryTiles(shop)),
    ...elements(others),
  ];
  return { title: "Freshet store", placement: "home", rows, content };
}
