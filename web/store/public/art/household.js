/** Appliances and vehicles of catalogs other than the demo's: drawings by kind, each a list of shapes from back to front. */

import { oval, path, rect, slab } from "./paint.js";

export const HOUSEHOLD = {
  fridge: (c) => [
    slab(c, 60, 24, 80, 140, 10),
    rect(60, 24, 18, 140, 8, c.l),
    rect(60, 74, 80, 4, 0, c.d),
    rect(124, 44, 6, 22, 3, c.k),
    rect(124, 88, 6, 36, 3, c.k),
  ],
  washer: (c) => [
    slab(c, 48, 36, 104, 128, 10),
    rect(48, 36, 104, 26, 10, c.l),
    oval(100, 112, 38, 38, c.k),
    oval(100, 112, 29, 29, "#8fb0c4"),
    path("M72 118 C88 106 110 130 128 116 A29 29 0 0 1 72 118Z", "#6d93ab"),
    oval(132, 49, 6, 6, c.k),
    rect(58, 45, 34, 8, 4, c.d),
  ],
  wheel: (c) => [
    oval(100, 104, 60, 60, c.k),
    oval(100, 104, 42, 42, c.l),
    oval(100, 104, 36, 36, c.d),
    [0, 72, 144, 216, 288].map((turn) => `<rect x="95" y="68" width="10" height="36" rx="4" fill="${c.l}" transform="rotate(${turn} 100 104)"/>`),
    oval(100, 104, 10, 10, c.n),
  ],
};
