/**
 * What a page says in attributes:
 *
 *   data-freshet-click="add_to_cart"     an event at each click; "click" where nothing is named
 *   data-freshet-view                    view_product, once for the element and its product
 *   data-freshet-impression              a viewable impression
 *   data-freshet-search="q"              on a form: search, with what the field of that name holds
 *   data-freshet-media                   on video and audio
 *   data-freshet-slot, -banner           what is recommended, see slots.js
 *   data-freshet-product, -price, …      the fields of these events, also of elements inside
 *
 * One listener hears all clicks. Elements that come later are found when the page is idle.
 */

import { whenIdle } from "./clock.js";

const PREFIX = "data-freshet-";
/** What to do with an element of each kind, given its fields and the attribute's value. */
const KINDS = {
  view: (core, _, fields) => core.view(fields),
  impression: (core, element, fields) => core.observe(element, fields),
  media: (core, element, fields) => core.observeMedia(element, fields),
  slot: (core, element, { product_id: productId, variant }, placement) =>
    core.slot(element, { placement, productId, variant, k: +element.getAttribute(PREFIX + "k") || 20 }),
  banner: (core, element, _, placement) => core.slot(element, { placement }, true),
};
const WORDS = ["click", "search", "k"];
const NUMBERS = /price|discount|quantity|position|propensity/;
const selectorOf = (kind) => "[" + PREFIX + kind + "]";
const FOUND = Object.keys(KINDS).map(selectorOf).join();

/** The fields that an element and those around it name; the inner ones count, empty ones do not. */
export function fieldsOf(element) {
  const fields = {};
  for (; element; element = element.parentElement) {
    for (const { name, value } of element.attributes) {
      const field = name.slice(PREFIX.length).replace(/-/g, "_");
      if (!value || !name.startsWith(PREFIX) || field in KINDS || WORDS.includes(field)) continue;
      fields[field === "product" ? "product_id" : field] ??= (NUMBERS.test(field) && +value === +value) ? +value : value;
    }
  }
  return fields;
}

/** Hears clicks: on elements that ask for it, and in what is recommended. */
export function watchClicks(core) {
  core.listen("click", ({ target }) => {
    const element = core.elements && target.closest?.(selectorOf("click"));
    const fields = core.fieldsAt(target);
    if (element || fields) core.track((element && element.getAttribute(PREFIX + "click")) || "click", { ...fields, ...fieldsOf(element) });
  });
}

/** Finds all other elements that ask for something. */
export function watchElements(core) {
  const known = new WeakMap(); // element -> the product it was about
  let sweeping = 0; // the handle of the sweep to come

  const found = core.guarded((element) => {
    for (const kind in KINDS) {
      const value = element.getAttribute(PREFIX + kind);
      if (value !== null) KINDS[kind](core, element, fieldsOf(element), value);
    }
  });

  /** Looks for elements that are new, or about another product; each is looked at in an idle moment of its own. */
  function sweep() {
    sweeping = 0;
    for (const element of document.querySelectorAll(FOUND)) {
      const product = element.getAttribute(PREFIX + "product");
      if (known.get(element) === product) continue;
      known.set(element, product);
      whenIdle(() => found(element));
    }
  }

  const observer = new MutationObserver(() => (sweeping ||= whenIdle(sweep)));
  observer.observe(document, { childList: true, subtree: true, attributeFilter: [PREFIX + "product"] });
  core.stops.push(() => observer.disconnect());
  core.listen("submit", ({ target }) => {
    const field = target.getAttribute(PREFIX + "search");
    if (field !== null) core.track("search", { ...fieldsOf(target), query: new FormData(target).get(field || "q") });
  });
  sweep();
}
