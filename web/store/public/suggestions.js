/** Suggestions below the search box (a combobox with a listbox, as the ARIA Authoring Practices have it). */

import { categoryPath, productPath } from "./card.js";
import { announce, h } from "./dom.js";

const PATIENCE_MS = 80; // who types fast asks once
const MOST = 8;
const KINDS = { category: "Category", brand: "Brand", product: "Product" };

export class Suggestions {
  /** `box` is the search box, `api` the API's address. */
  constructor({ box, api, freshet }) {
    Object.assign(this, { box, api, freshet, found: [], at: -1, asked: 0, typed: "" });
    this.input = box.input;
    this.list = h("ul", { id: "suggestions", className: "suggestions", role: "listbox", "aria-label": "Suggestions", hidden: true });
    box.form.append(this.list);
    const says = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id };
    for (const [name, value] of Object.entries(says)) this.input.setAttribute(name, value);
    this.input.addEventListener("input", () => this.soon());
    this.input.addEventListener("focus", () => this.soon());
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    box.form.addEventListener("submit", () => this.close());
    this.list.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
    this.list.addEventListener("click", (event) => this.onClick(event));
  }

  soon() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.ask(), PATIENCE_MS);
  }

  /** Asks for what is typed, and shows the answer unless something newer has been typed. */
  async ask() {
    const turn = (this.asked += 1);
    this.typed = this.input.value;
    const found = await this.answer(this.typed).catch(() => []); // without an API there are none
    if (turn === this.asked && document.activeElement === this.input) this.show(found);
  }

  /** By POST: ids stay out of addresses and logs. A body that is plain text needs no preflight. */
  async answer(q) {
    const { anonymousId, userId } = this.freshet;
    const body = JSON.stringify({ q: q.slice(0, 100), n: MOST, anonymous_id: anonymousId, user_id: userId });
    const response = await fetch(new URL("/v1/search/suggest", this.api), { method: "POST", body });
    return response.ok ? (await response.json()).suggestions : [];
  }

  show(found) {
    this.found = found;
    this.list.replaceChildren(...found.map((one, at) => option(one, at, this.typed)));
    this.list.hidden = !found.length;
    this.input.setAttribute("aria-expanded", String(found.length > 0));
    this.mark(-1);
    if (found.length) announce(`${found.length} suggestions`);
  }

  /** Closes the list, and takes no answer that is still to come. */
  close() {
    clearTimeout(this.waiting);
    this.asked += 1;
    this.show([]);
  }

  onKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.isComposing) return;
    if (event.key === "Escape" && !this.list.hidden) {
      this.input.value = this.typed;
      this.close();
    } else if (event.key in steps && this.found.length) this.step(steps[event.key]);
    else if (event.key === "Enter" && this.at >= 0) this.choose(this.found[this.at]);
    else return;
    event.preventDefault();
  }

  /** One suggestion on, through what was typed and round again. */
  step(by) {
    const places = this.found.length + 1;
    this.mark(((this.at + 1 + by + places) % places) - 1);
    this.input.value = this.at < 0 ? this.typed : this.found[this.at].text;
  }

  mark(at) {
    this.at = at;
    [...this.list.children].forEach((element, place) => element.setAttribute("aria-selected", String(place === at)));
    if (at < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", this.list.children[at].id);
    this.list.children[at]?.scrollIntoView({ block: "nearest" });
  }

  onClick(event) {
    const chosen = event.target.closest("[role=option]");
    if (chosen) this.choose(this.found[[...this.list.children].indexOf(chosen)]);
  }

  choose({ kind, text, id }) {
    this.close();
    this.input.blur(); // a phone's keyboard goes away
    if (kind === "product") this.box.go(productPath({ item_id: id }));
    else if (kind === "category") this.box.go(categoryPath(id));
    else this.box.search(text);
  }
}

function option({ text, kind }, at, typed) {
  return h(
    "li",
    { id: `suggestion-${at}`, role: "option", data: { kind } },
    h("span", { className: "suggestion-text" }, parted(text, typed)),
    KINDS[kind] && h("span", { className: "suggestion-kind" }, KINDS[kind]),
  );
}

/** The text with what was typed already in it set off from what it adds. */
function parted(text, typed) {
  const at = text.toLowerCase().indexOf(typed.trim().toLowerCase());
  const size = typed.trim().length;
  if (at < 0 || !size) return [text];
  return [text.slice(0, at), h("mark", {}, text.slice(at, at + size)), text.slice(at + size)];
}
