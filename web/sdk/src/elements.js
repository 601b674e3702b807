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

const KINDS = ["view", "impression", "media", "slot", "banner"];
const WORDS = ["click", "search", "k", ...KINDS];
const NUMBERS = /price|discount|quantity|position|propensity/;
const PREFIX = "data-freshet-";
const selectorOf = (kind) => `[${PREFIX}${kind}]`;
const FOUND = KINDS.map(selectorOf).join();

/** The fields that an element and those around it name; the inner ones count. */
export function fieldsOf(element) {
  const fields = {};
  for (let at = element; at; at = at.parentElement) {
    for (const [name, value] of Object.entries(at.dataset ?? {})) {
      const field = name.replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase()).slice(8);
      if (!name.startsWith("freshet") || WORDS.includes(field)) continue;
      fields[field === "product" ? "product_id" : field] ??= NUMBERS.test(field) && isFinite(value) ? Number(value) : value;
    }
  }
  return fields;
}

/** Tells of clicks: on elements that ask for it, and in what is recommended (`fieldsAt`). */
export function watchClicks(settings, { listen }, track, fieldsAt) {
  listen(document, "click", ({ target }) => {
    const element = settings.auto && target.closest?.(selectorOf("click"));
    const fields = fieldsAt(target);
    if (element) track(element.getAttribute(PREFIX + "click") || "click", { ...fields, ...fieldsOf(element) });
    else if (fields) track("click", fields);
  });
}

/** `handlers`: what to do with an element of each kind; called with the element, its fields and the attribute's value. */
export function watchElements({ guarded, listen, stops }, track, handlers) {
  const known = new WeakSet();
  let waiting = null;

  const found = guarded("element", (element) => {
    if (known.has(element)) return;
    known.add(element);
    for (const kind of KINDS) {
      const value = element.getAttribute(PREFIX + kind);
      if (value !== null) handlers[kind](element, fieldsOf(element), value);
    }
  });

  /** Looks through the page in as many idle moments as it takes. */
  function sweep(idle) {
    waiting ??= [...document.querySelectorAll(FOUND)];
    while (waiting.length && !(idle?.timeRemaining() < 1)) found(waiting.shift());
    if (waiting.length) whenIdle(sweep);
    else waiting = null;
  }

  const observer = new MutationObserver((records) => {
    for (const { target, oldValue, attributeName } of records) {
      if (attributeName && oldValue !== target.getAttribute(attributeName)) known.delete(target);
    }
    if (!waiting) whenIdle(sweep);
  });
  const attributes = { attributeFilter: [PREFIX + "product"], attributeOldValue: true };
  observer.observe(document, { childList: true, subtree: true, ...attributes });
  stops.push(() => observer.disconnect());

  listen(document, "submit", ({ target }) => {
    const field = target.getAttribute(PREFIX + "search");
    if (field !== null) track("search", { ...fieldsOf(target), query: new FormData(target).get(field || "q") });
  });
  sweep();
}
