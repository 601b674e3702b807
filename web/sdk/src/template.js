/**
 * Fills a copy of a `<template>`: `{name}` in texts and attributes becomes the value of that name.
 *
 * A value is text, never markup. In an address that the template begins, a value is escaped; one that is the whole
 * address has to be http(s). Scripts (`on…`), styles and documents in attributes are left as they are.
 */

const PLACE = /\{(\w+)\}/g;
const WEB_ADDRESS = /^https?:|^[^:]*([/?#]|$)/i; // or one without a scheme

/** The element of the template, filled. */
export function fill(template, values) {
  if (!template) throw new Error("no template");
  const copy = template.content.cloneNode(true);
  for (const element of copy.querySelectorAll("*")) {
    for (const node of [...element.attributes, ...element.childNodes]) {
      const { nodeName: name, nodeValue: text } = node;
      if (text && !/^on|style|srcdoc/.test(name)) {
        node.nodeValue = text.replace(PLACE, (place, key) => {
          const value = values[key] ?? "";
          if (!/href|src|action|poster/.test(name)) return value;
          return place !== text ? encodeURIComponent(value) : WEB_ADDRESS.test(value) ? value : "";
        });
      }
    }
  }
  return copy.firstElementChild;
}
