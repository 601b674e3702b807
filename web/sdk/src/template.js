/**
 * Fills a copy of a `<template>`: `{name}` in texts and attributes becomes the value of that name.
 *
 * A value is text, never markup. In an address that the template begins, a value is escaped; one that is the whole
 * address has to be http(s). Scripts (`on…`), styles and documents in attributes are left as they are.
 */

const PLACE = /\{(\w+)\}/g;

/** The element of the template, filled. */
export function fill(template, values) {
  const copy = template.content.cloneNode(true);
  for (const element of copy.querySelectorAll("*")) {
    for (const attribute of element.attributes) {
      if (!/^on|^style$|^srcdoc$/.test(attribute.name)) attribute.value = filled(attribute, values);
    }
    for (const node of element.childNodes) {
      if (node.nodeType === 3) node.data = node.data.replace(PLACE, (_, name) => values[name] ?? "");
    }
  }
  return copy.firstElementChild;
}

function filled({ name, value }, values) {
  const isAddress = /^(href|src|action|formaction|poster)$/.test(name);
  return value.replace(PLACE, (place, key) => {
    const text = String(values[key] ?? "");
    if (!isAddress) return text;
    if (place !== value) return encodeURIComponent(text);
    return /^https?:$/.test(new URL(text, location.href).protocol) ? text : "";
  });
}
