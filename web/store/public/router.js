/** Addresses to pages, with the browser's own history. */

import { cart, thanks } from "./pages/cart.js";
import { category } from "./pages/category.js";
import { home } from "./pages/home.js";
import { missing } from "./pages/parts.js";
import { product } from "./pages/product.js";
import { search } from "./pages/search.js";
import { SearchBox } from "./search_box.js";

const NAME = "Freshet store";
const main = document.getElementById("main");

export class Router {
  constructor(parts, recommender) {
    this.parts = parts;
    this.recommender = recommender;
    this.searchBox = new SearchBox(document.querySelector("form.search"), (address) => this.go(address));
    document.addEventListener("click", (event) => this.onClick(event));
    window.addEventListener("popstate", () => this.draw());
  }

  onClick(event) {
    const link = event.target.closest("a[href^='/']");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.go(link.getAttribute("href"));
  }

  go(address) {
    history.pushState(null, "", address);
    this.draw();
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }

  get query() {
    return (new URLSearchParams(location.search).get("q") ?? "").trim();
  }

  page() {
    const [, kind, rest] = location.pathname.match(/^\/([^/]*)\/?(.*)$/);
    const name = decodeURIComponent(rest);
    if (kind === "") return home(this.parts);
    if (kind === "product") return product(this.parts, name);
    if (kind === "category") return category(this.parts, name);
    if (kind === "search") return search(this.parts, this.query);
    if (kind === "cart") return cart(this.parts, (bought) => this.show(bought ? thanks(this.parts, bought) : this.page()));
    return missing(this.parts, "This page does not exist.");
  }

  draw() {
    this.show(this.page());
    this.searchBox.show(location.pathname === "/search" ? this.query : "");
  }

  /** Events of the page go out before its rows are asked for, so that the questions know of them. */
  show({ title, placement, productId, rows, content, shown }) {
    document.title = title === NAME ? title : `${title} — ${NAME}`;
    rows.forEach(({ element }, at) => element.classList.toggle("picks", at === 0));
    main.replaceChildren(...content.filter(Boolean));
    main.dataset.page = placement;
    markCategory();
    this.recommender.place({ rows, productId });
    shown?.();
    if (!this.recommender.waiting) this.recommender.refresh();
  }
}

function markCategory() {
  for (const link of document.querySelectorAll("nav.categories a")) {
    const current = decodeURIComponent(location.pathname).startsWith(decodeURIComponent(link.getAttribute("href")));
    if (current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
