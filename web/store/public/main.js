/** Puts the store together: catalog, SDK, router, and what reacts to events. */

import { createFreshet } from "/sdk/freshet.js";
import { categoryPath } from "./card.js";
import { label, loadCatalog } from "./catalog.js";
import { h } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Freshness } from "./freshness.js";
import * as pages from "./pages.js";
import { Recommender, shelfSlate } from "./recommender.js";
import { Shop } from "./shop.js";
import { Banner, Picks, SlateList } from "./slates.js";

const POPULAR_K = 12;
const main = document.getElementById("main");

/** What one visit of the store consists of. */
async function start() {
  const [catalog, addresses] = await Promise.all([loadCatalog(), fetch("/config.json").then((answer) => answer.json())]);
  const freshet = createFreshet({ ...addresses, pages: true });
  const shop = new Shop({ catalog, freshet });
  const views = { picks: new Picks(shop), banner: new Banner(shop), popular: new SlateList(shop, "grid") };
  const freshness = new Freshness(freshet);
  const onSlate = (slate) => {
    drawer.soon();
    fillPopular(slate);
  };
  const recommender = new Recommender({ shop, freshness, views: [views.picks, views.banner], onSlate });
  const drawer = new Drawer({
    shop,
    freshness,
    toggle: document.getElementById("drawer-toggle"),
    element: document.getElementById("drawer"),
    slate: () => recommender.slate,
  });
  drawNavigation(shop);
  const router = new Router({ shop, ...views }, recommender);
  const fillPopular = once((slate) => showPopular(shop, views.popular, slate));
  router.draw();
}

function once(action) {
  let done = false;
  return (...args) => {
    if (!done) action(...args);
    done = true;
  };
}

/** The popular grid, filled once a visit; it leaves out what the first row shows already. */
async function showPopular(shop, popular, row) {
  const exclude = row.ranked_feed.map(({ id }) => id);
  const slate = await shop.freshet.recommend({ placement: "popular", variant: "popular", k: POPULAR_K, exclude });
  popular.show(slate ?? shelfSlate(shop.catalog, POPULAR_K), "popular");
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
    link.setAttribute("aria-label", count ? `Cart, ${count} ${count === 1 ? "thing" : "things"}` : "Cart, empty");
  };
  shop.cartChanged();
}

/** Addresses to pages, with the browser's own history. */
class Router {
  constructor(parts, recommender) {
    this.parts = parts;
    this.recommender = recommender;
    document.addEventListener("click", (event) => this.onClick(event));
    document.querySelector("form.search").addEventListener("submit", (event) => this.onSearch(event));
    window.addEventListener("popstate", () => this.draw());
  }

  onClick(event) {
    const link = event.target.closest("a[href^='/']");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.go(link.getAttribute("href"));
  }

  onSearch(event) {
    event.preventDefault();
    this.go(`/search?q=${encodeURIComponent(event.target.q.value.trim())}`);
  }

  go(address) {
    history.pushState(null, "", address);
    this.draw();
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }

  page() {
    const [, kind, rest] = location.pathname.match(/^\/([^/]*)\/?(.*)$/);
    const name = decodeURIComponent(rest);
    if (kind === "") return pages.home(this.parts);
    if (kind === "product") return pages.product(this.parts, name);
    if (kind === "category") return pages.category(this.parts, name);
    if (kind === "search") return pages.search(this.parts, (new URLSearchParams(location.search).get("q") ?? "").trim());
    if (kind === "cart") return pages.cart(this.parts, (bought) => this.show(bought ? pages.thanks(this.parts, bought) : this.page()));
    return pages.missing(this.parts, "This page does not exist.");
  }

  draw() {
    this.show(this.page());
    if (location.pathname !== "/search") document.querySelector("form.search").q.value = "";
  }

  /** Events of the page go out before the row is asked for, so that the question knows of them. */
  show({ title, placement, productId, content, shown }) {
    const { picks } = this.parts;
    document.title = title === "Freshet store" ? title : `${title} — Freshet store`;
    main.replaceChildren(...content.filter(Boolean));
    main.dataset.page = placement;
    for (const link of document.querySelectorAll("nav.categories a")) {
      const current = decodeURIComponent(location.pathname).startsWith(decodeURIComponent(link.getAttribute("href")));
      if (current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    picks.place(placement);
    this.recommender.place = { placement, productId };
    shown?.();
    if (!this.recommender.waiting) this.recommender.refresh();
  }
}

start().catch((error) => {
  main.replaceChildren(h("section", { className: "thanks" }, h("h1", {}, "The store cannot open"), h("p", {}, error.message)));
});
