/** The first page: banner, rows and categories. */

import { h } from "../dom.js";
import { forYou, popular } from "../placements.js";
import { categoryTiles, sectionHead } from "./parts.js";

export function home({ shop, banner, row, lookedAt }) {
  const rows = [row(forYou), row(popular), lookedAt()];
  const [picks, trending, looked] = rows;
  const content = [
    h("h1", { className: "sr-only" }, "Freshet store"),
    banner.element,
    picks.element,
    h("section", { id: "categories", "aria-labelledby": "tiles-title" }, sectionHead("tiles-title", "Shop by category"), categoryTiles(shop)),
    trending.element,
    looked.element,
  ];
  return { title: "Freshet store", placement: "home", rows, content };
}
