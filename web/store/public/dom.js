/** The few lines that stand in for a framework. */

/** An element; `props` are properties, `on…` listeners, `data` entries and attributes; falsy children are left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && name !== "role") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false && child !== ""));
  return element;
}

export const calmMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** Says something to those who listen to the page instead of looking at it. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/**
 * Puts `elements` into `list` in this order and lets each slide from where it was (FLIP: first, last, invert,
 * play); those that were not there fade in. Returns the ones that are new.
 */
export function rearrange(list, elements) {
  const before = new Map([...list.children].map((child) => [child, [child.offsetLeft, child.offsetTop]]));
  list.replaceChildren(...elements);
  const arrived = elements.filter((element) => !before.has(element));
  if (calmMotion.matches || before.size === 0) return arrived;
  elements.forEach((element, index) => {
    const old = before.get(element);
    if (old) slide(element, old[0] - element.offsetLeft, old[1] - element.offsetTop);
    else appear(element, Math.min(index, 6) * 35);
  });
  return arrived;
}

function slide(element, dx, dy) {
  if (!dx && !dy) return;
  const from = { transform: `translate(${dx}px, ${dy}px)` };
  element.animate([from, { transform: "none" }], { duration: 460, easing: "cubic-bezier(.2,.8,.2,1)" });
}

function appear(element, delay) {
  const from = { opacity: 0, transform: "translateY(10px) scale(.96)" };
  element.animate([from, { opacity: 1, transform: "none" }], { duration: 380, delay, easing: "ease-out", fill: "backwards" });
}
