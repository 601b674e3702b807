/** Puts the store together: catalog, SDK, router, and what reacts to events. */

import { createFreshet } from "/sdk/freshet.js";
import { prepareArt } from "./art.js";
import { Banner } from "./banner.js";
import { categoryPath } from "./card.js";
import { counted, label, loadCatalog } from "./catalog.js";
import { h } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Freshness } from "./freshness.js";
import { Recommender } from "./recommender.js";
import { Router } from "./router.js";
import { Row } from "./row.js";
import { Shop } from "./shop.js";
import { Suggestions } from "./suggestions.js";

/** What one visit of the store consists of. */
async function start() {
  const [catalog, addresses] = await Promise.all([loadCatalog(), fetch("/config.json").then((answer) => answer.json())]);
  const freshet = createFreshet({ ...addresses, pages: true });
  const shop = new Shop({ catalog, freshet });
  const banner = new Banner(shop);
  const freshness = new Freshness(freshet);
  const recommender = new Recommender({ shop, freshness, banner, onSlate: () => drawer.soon() });
  const drawer = new Drawer({
    shop,
    freshness,
    toggle: document.getElementById("drawer-toggle"),
    element: document.getElementById("drawer"),
    slate: () => recommender.slate,
  });
  prepareArt();
  drawNavigation(shop);
  const router = new Router({ shop, banner, row: rowsOf(shop) }, recommender);
  new Suggestions({ box: router.searchBox, api: addresses.api, freshet });
  router.draw();
}

/** Rows by what they ask for. One that is not about its page keeps its cards from page to page. */
function rowsOf(shop) {
  const rows = new Map();
  return (spec) => {
    if (spec.productId || spec.filter) return new Row(shop, spec);
    if (!rows.has(spec)) rows.set(spec, new Row(shop, spec));
    return rows.get(spec);
  };
}

function drawNavigation(shop) {
  const links = shop.catalog.top().slice(0, 10).map(({ path }) => h("a", { href: categoryPath(path) }, label(path)));
  document.querySelector("nav.categories").replaceChildren(...links);
  const link = document.querySelector(".cart-link");
  const badge = link.querySelector(".cart-count");
  shop.cartChanged = () => {
    const { count } = shop.cart;
    badge.textContent = count;
    badge.hidden = count === 0;
    link.setAttribute("aria-label", count ? `Cart, ${counted(count)}` : "Cart, empty");
  };
  shop.cartChanged();
}

start().catch((error) => {
  const words = [h("h1", {}, "The store cannot open"), h("p", {}, error.message)];
  document.getElementById("main").replaceChildren(h("section", { className: "thanks" }, words));
});
