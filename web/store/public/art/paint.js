/** Shapes and colours of the drawings. Every drawing stands on y = 164 of a 200 x 200 field. */

const COLOURS = {
  black: "#2f3136",
  white: "#f4f2ee",
  sand: "#d9c4a1",
  navy: "#34496f",
  forest: "#3f6b54",
  clay: "#bd6d4e",
  slate: "#6d7c91",
  coral: "#e6856f",
  olive: "#84885a",
  ivory: "#ece2cd",
  graphite: "#50545c",
  amber: "#dfa342",
};

// Words of a material or a title, the surface that they are drawn with, and the colour of the fittings.
const MATERIALS = [
  [/oak|walnut|beech|ash wood|wood|bamboo|acacia/, "grain", "#a8784a"],
  [/knit|wool|fleece|merino|plush/, "knit", "#b98b5e"],
  [/linen|cotton|canvas|denim|polyester|nylon|mesh/, "weave", "#b98b5e"],
  [/brass|copper|bronze/, "brushed", "#c9a04e"],
  [/steel|aluminium|titanium|iron/, "brushed", "#9aa3a8"],
  [/leather|suede|nubuck/, "leather", "#8a5a38"],
  [/stone|ceramic|enamel|terracotta|clay pot|concrete/, "speckle", "#b98b5e"],
];
const PLAIN = ["", "", "#b98b5e"];
export const INK = "#1b1a22";
const EMBLEMS = 6;

/** A small stable hash (FNV-1a), so that an item looks the same on every visit. */
export function hash(text) {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}

function mix(hex, other, share) {
  const channel = (colour, at) => parseInt(colour.slice(at, at + 2), 16);
  const blended = [1, 3, 5].map((at) => channel(hex, at) * (1 - share) + channel(other, at) * share);
  return `#${blended.map((value) => Math.round(value).toString(16).padStart(2, "0")).join("")}`;
}

function colourOf(item) {
  const named = Object.keys(COLOURS).find((name) => new RegExp(`\\b${name}\\b`, "i").test(item.title ?? ""));
  return COLOURS[named] ?? Object.values(COLOURS)[hash(item.item_id) % Object.keys(COLOURS).length];
}

/** The material that is named first: a thing of "linen and oak" is drawn as linen. */
function materialOf(item) {
  const words = `${item.material ?? ""} ${item.title ?? ""}`.toLowerCase();
  const at = ([pattern]) => words.search(pattern);
  return MATERIALS.filter((material) => at(material) >= 0).sort((a, b) => at(a) - at(b))[0] ?? PLAIN;
}

/**
 * The paints of one item: m its colour, d darker, l lighter, a palest; k black, n cream, g leaf, w fittings;
 * `surface` names the pattern of its material, `brand` is a number that all items of a brand share.
 */
export function paintsOf(item) {
  const main = colourOf(item);
  const [, surface, fittings] = materialOf(item);
  return {
    m: main,
    d: mix(main, INK, 0.28),
    l: mix(main, "#ffffff", 0.32),
    a: mix(main, "#ffffff", 0.72),
    k: "#33343a",
    n: "#f6f1e7",
    g: "#5f8a5b",
    w: fittings,
    surface,
    brand: hash(item.brand ?? ""),
  };
}

export const rect = (x, y, w, h, r, fill) => `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="${r}" fill="${fill}"/>`;
export const oval = (x, y, rx, ry, fill) => `<ellipse cx="${x}" cy="${y}" rx="${rx}" ry="${ry}" fill="${fill}"/>`;
export const path = (d, fill) => `<path d="${d}" fill="${fill}"/>`;
export const ring = (x, y, r, stroke, width) => `<circle cx="${x}" cy="${y}" r="${r}" fill="none" stroke="${stroke}" stroke-width="${width}"/>`;
export const line = (d, stroke, width) =>
  `<path d="${d}" fill="none" stroke="${stroke}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"/>`;
export const turned = (degrees, ...shapes) => `<g transform="rotate(${degrees} 100 100)">${shapes.flat(Infinity).join("")}</g>`;

const covered = (c, shape) => shape(c.m) + (c.surface ? shape(`url(#surface-${c.surface})`) : "");

/** The part that shows the item's colour and the surface of its material. */
export const body = (c, d) => covered(c, (fill) => path(d, fill));

/** The same, as a rectangle. */
export const slab = (c, x, y, w, h, r) => covered(c, (fill) => rect(x, y, w, h, r, fill));

/** The sign of the brand, `r` from its middle to its edge. */
export function emblem(c, x, y, r, fill = c.n) {
  const third = r / 3;
  return [
    () => ring(x, y, r * 0.75, fill, r * 0.5),
    () => path(`M${x} ${y - r} L${x + r} ${y + r * 0.8} H${x - r}Z`, fill),
    () => rect(x - r, y - r, third * 2, r * 2, third, fill) + rect(x + third, y - third, third * 2, r + third, third, fill),
    () => path(`M${x} ${y - r} L${x + r} ${y} L${x} ${y + r} L${x - r} ${y}Z`, fill),
    () => line(`M${x - r} ${y + third} Q${x - r / 2} ${y - r} ${x} ${y} T${x + r} ${y - third}`, fill, r * 0.5),
    () => [-1, 0, 1].map((step) => oval(x + step * third * 2.2, y, third, third, fill)).join(""),
  ][c.brand % EMBLEMS]();
}

const SURFACES = {
  grain: `<path d="M0 5 Q9 2 18 5 T36 5 M0 12 Q9 15 18 12 T36 12" fill="none" stroke="#2a1606" stroke-opacity=".15" stroke-width="1.2"/>`,
  knit: `<path d="M0 2 l4.5 4 l4.5 -4 M0 8 l4.5 4 l4.5 -4" fill="none" stroke="#fff" stroke-opacity=".28" stroke-width="1.4"/>`,
  weave: `<path d="M0 0 L6 6 M6 0 L0 6" stroke="#000" stroke-opacity=".07" stroke-width="1"/>`,
  brushed: `<path d="M0 2 H40 M0 6 H40" stroke="#fff" stroke-opacity=".13" stroke-width="1"/>`,
  leather: `<circle cx="2.5" cy="2.5" r="1" fill="#000" fill-opacity=".13"/><circle cx="7" cy="6.5" r=".9" fill="#fff" fill-opacity=".16"/>`,
  speckle: `<circle cx="4" cy="5" r="1.1" fill="#000" fill-opacity=".2"/><circle cx="13" cy="12" r="1.4" fill="#fff" fill-opacity=".4"/><circle cx="9" cy="2" r=".8" fill="#000" fill-opacity=".14"/>`,
};
const SIZES = { grain: [36, 17], knit: [9, 12], weave: [6, 6], brushed: [40, 8], leather: [9, 9], speckle: [17, 16] };

/** The patterns that `body` and `slab` fill with: one hidden `<svg>` for the whole page. */
export function surfaces() {
  const pattern = ([name, shapes]) => {
    const [width, height] = SIZES[name];
    return `<pattern id="surface-${name}" width="${width}" height="${height}" patternUnits="userSpaceOnUse">${shapes}</pattern>`;
  };
  return `<svg width="0" height="0" aria-hidden="true" focusable="false"><defs>${Object.entries(SURFACES).map(pattern).join("")}</defs></svg>`;
}
