/** Product pictures: drawn from title, category and id, since the demo's items have no photographs. */

const NAMED_COLOURS = {
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
const COLOURS = Object.values(NAMED_COLOURS);
export const TONES = 8;

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

function palette(item) {
  const word = Object.keys(NAMED_COLOURS).find((name) => new RegExp(`\\b${name}\\b`, "i").test(item.title ?? ""));
  const main = word ? NAMED_COLOURS[word] : COLOURS[hash(item.item_id) % COLOURS.length];
  return {
    m: main,
    d: mix(main, "#1b1a22", 0.28),
    l: mix(main, "#ffffff", 0.32),
    k: "#33343a",
    n: "#f6f1e7",
    w: "#b98b5e",
    g: "#5f8a5b",
    a: mix(main, "#ffffff", 0.72),
  };
}

// Shapes; every motif stands on y = 164 of a 200 x 200 field.
const rect = (x, y, w, h, r, fill) => `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="${r}" fill="${fill}"/>`;
const oval = (x, y, rx, ry, fill) => `<ellipse cx="${x}" cy="${y}" rx="${rx}" ry="${ry}" fill="${fill}"/>`;
const path = (d, fill) => `<path d="${d}" fill="${fill}"/>`;
const line = (d, stroke, width) =>
  `<path d="${d}" fill="none" stroke="${stroke}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"/>`;

const MOTIFS = {
  phone: (c) =>
    rect(66, 34, 68, 130, 14, c.d) + rect(71, 39, 58, 120, 10, c.k) + path("M71 118 L129 78 V149 a10 10 0 0 1 -10 10 H81 a10 10 0 0 1 -10 -10Z", c.m) +
    path("M71 138 L129 104 V149 a10 10 0 0 1 -10 10 H81 a10 10 0 0 1 -10 -10Z", c.l) + rect(91, 45, 18, 5, 2.5, c.d),
  headphones: (c) =>
    line("M52 118 V100 a48 48 0 0 1 96 0 V118", c.d, 11) + line("M52 108 V100 a48 48 0 0 1 96 0 V108", c.m, 6) +
    rect(40, 106, 30, 54, 14, c.m) + rect(130, 106, 30, 54, 14, c.m) + rect(60, 108, 12, 50, 6, c.k) + rect(128, 108, 12, 50, 6, c.k) +
    rect(45, 114, 6, 36, 3, c.l),
  earbuds: (c) =>
    rect(52, 48, 96, 66, 26, c.d) + rect(60, 56, 80, 54, 18, c.k) + rect(72, 74, 24, 60, 12, c.n) + rect(104, 74, 24, 60, 12, c.n) + rect(81, 82, 6, 12, 3, c.k) + rect(113, 82, 6, 12, 3, c.k) +
    path("M52 106 H148 V134 a30 30 0 0 1 -30 30 H82 a30 30 0 0 1 -30 -30Z", c.m) + path("M52 106 H68 V156 A30 30 0 0 1 52 134Z", c.l) + rect(94, 124, 12, 4, 2, c.n),
  speaker: (c) =>
    rect(58, 38, 84, 126, 16, c.m) + rect(58, 38, 14, 126, 10, c.l) + oval(102, 122, 29, 29, c.k) + oval(102, 122, 20, 20, c.d) + oval(102, 122, 8, 8, c.l) +
    oval(102, 68, 14, 14, c.k) + oval(102, 68, 6, 6, c.d),
  soundbar: (c) =>
    rect(22, 116, 156, 40, 12, c.m) + rect(30, 124, 140, 24, 6, c.d) + [44, 62, 80, 98, 116, 134, 152].map((x) => oval(x, 136, 5, 5, c.k)).join("") +
    rect(40, 156, 16, 8, 3, c.k) + rect(144, 156, 16, 8, 3, c.k),
  turntable: (c) =>
    rect(28, 112, 144, 46, 8, c.w) + rect(28, 104, 144, 18, 8, c.m) + oval(88, 104, 52, 15, c.k) + oval(88, 103, 34, 9, "#45464e") + oval(88, 103, 14, 4, c.l) +
    line("M152 100 L146 82 L112 98", c.n, 5) + oval(152, 101, 8, 5, c.d) + rect(42, 158, 18, 6, 3, c.k) + rect(140, 158, 18, 6, 3, c.k),
  camera: (c) =>
    rect(34, 72, 132, 88, 14, c.m) + path("M74 72 L82 54 H118 L126 72Z", c.d) + rect(34, 92, 132, 40, 0, c.k) + oval(100, 114, 38, 38, c.d) + oval(100, 114, 30, 30, c.k) +
    oval(100, 114, 18, 18, "#51607a") + oval(93, 107, 6, 6, c.n) + rect(142, 78, 14, 8, 3, c.n) + rect(44, 64, 22, 9, 3, c.k),
  lens: (c) =>
    rect(62, 56, 76, 100, 8, c.k) + rect(56, 44, 88, 26, 8, c.m) + rect(62, 92, 76, 16, 0, c.d) + [70, 82, 94, 106, 118, 130].map((x) => rect(x, 92, 4, 16, 1, c.l)).join("") +
    oval(100, 46, 40, 12, c.d) + oval(100, 46, 28, 8, "#51607a") + oval(92, 44, 7, 2.5, c.n) + rect(68, 152, 64, 12, 4, c.d),
  laptop: (c) =>
    rect(44, 56, 112, 80, 8, c.k) + path("M50 62 H150 V130 H50Z", c.m) + path("M50 112 L92 84 L118 104 L150 78 V130 H50Z", c.l) +
    path("M50 122 L82 104 L112 122 L150 98 V130 H50Z", c.d) + path("M28 138 H172 L180 156 a8 8 0 0 1 -8 8 H28 a8 8 0 0 1 -8 -8Z", c.a) + rect(82, 138, 36, 6, 3, c.d),
  monitor: (c) =>
    rect(24, 44, 152, 94, 8, c.k) + rect(30, 50, 140, 82, 4, c.m) + oval(128, 78, 14, 14, c.a) + path("M30 114 L76 76 L108 104 L134 88 L170 116 V132 H30Z", c.d) +
    path("M92 138 H108 L112 156 H88Z", c.d) + rect(66, 154, 68, 10, 5, c.k),
  keyboard: (c) =>
    path("M30 112 H170 L182 152 a8 8 0 0 1 -8 12 H26 a8 8 0 0 1 -8 -12Z", c.d) + path("M34 108 H166 L176 146 H24Z", c.m) +
    [0, 1, 2].map((row) => [0, 1, 2, 3, 4, 5, 6].map((key) => rect(38 - row * 3 + key * (18.2 + row * 0.9), 113 + row * 11, 14, 8, 2.5, (key + row) % 5 ? c.n : c.l)).join("")).join(""),
  mouse: (c) =>
    line("M100 62 C100 44 128 44 128 28", c.d, 4) + rect(66, 58, 68, 106, 34, c.m) + path("M66 102 V92 a34 34 0 0 1 34 -34 V102Z", c.l) +
    line("M66 104 H134", c.d, 3) + rect(95, 72, 10, 24, 5, c.k),
  webcam: (c) =>
    oval(100, 86, 46, 46, c.m) + oval(100, 86, 32, 32, c.k) + oval(100, 86, 18, 18, "#51607a") + oval(93, 79, 6, 6, c.n) + rect(94, 130, 12, 20, 0, c.d) + rect(66, 148, 68, 16, 8, c.d) + oval(134, 62, 4, 4, "#7ed09b"),
  dock: (c) =>
    path("M40 164 L70 92 H84 L58 164Z", c.d) + path("M160 164 L130 92 H116 L142 164Z", c.d) + path("M34 96 L166 84 V96 L34 108Z", c.m) + path("M40 82 L160 72 V78 L40 90Z", c.k) + path("M60 76 L74 34 H158 L146 70Z", c.l),
  kettle: (c) =>
    path("M60 76 H128 L140 152 a10 10 0 0 1 -10 12 H58 a10 10 0 0 1 -10 -12Z", c.m) + path("M60 76 H78 L66 164 H58 a10 10 0 0 1 -10 -12Z", c.l) + path("M56 92 L28 84 L34 100 L54 118Z", c.d) +
    line("M128 82 C166 78 168 138 137 142", c.k, 9) + path("M62 76 a32 20 0 0 1 64 0Z", c.d) + oval(94, 54, 8, 7, c.k) + rect(54, 152, 82, 5, 2, c.d),
  toaster: (c) =>
    rect(56, 46, 38, 60, 10, "#d9a869") + rect(106, 46, 38, 60, 10, "#d9a869") + rect(61, 51, 28, 50, 7, "#efcf9c") + rect(111, 51, 28, 50, 7, "#efcf9c") +
    rect(32, 80, 136, 80, 22, c.m) + rect(46, 76, 108, 10, 5, c.d) + rect(40, 92, 8, 50, 4, c.l) + oval(148, 134, 9, 9, c.n) + rect(148, 96, 6, 22, 3, c.d) + rect(48, 158, 22, 7, 3, c.k) + rect(130, 158, 22, 7, 3, c.k),
  pan: (c) =>
    rect(118, 104, 66, 12, 6, c.w) + path("M30 100 H132 V142 a22 22 0 0 1 -22 22 H52 a22 22 0 0 1 -22 -22Z", c.m) + path("M30 100 H48 V164 a22 22 0 0 1 -18 -22Z", c.l) + rect(24, 94, 114, 12, 6, c.d) +
    path("M38 94 a43 20 0 0 1 86 0Z", c.a) + oval(81, 70, 9, 7, c.k),
  blender: (c) =>
    path("M66 46 H134 L124 116 H76Z", c.a) + path("M70 76 H130 L124 116 H76Z", c.l) + rect(60, 38, 80, 12, 6, c.k) + line("M133 58 C158 58 156 98 128 100", c.k, 7) +
    path("M72 116 H128 L140 154 a8 8 0 0 1 -8 10 H68 a8 8 0 0 1 -8 -10Z", c.m) + oval(100, 142, 10, 10, c.n) + line("M100 142 L105 136", c.k, 3),
  knives: (c) =>
    [64, 86, 108, 130].map((x, n) => rect(x - 5, 52 - n * 3, 12, 54, 5, n % 2 ? c.k : c.d) + oval(x + 1, 64 - n * 3, 2, 2, c.n)).join("") +
    path("M50 96 L146 84 V156 a8 8 0 0 1 -8 8 H58 a8 8 0 0 1 -8 -8Z", c.w) + path("M50 96 L146 84 V94 L50 106Z", "#d3aa7e") + rect(66, 128, 64, 14, 4, c.m),
  armchair: (c) =>
    rect(54, 40, 92, 90, 24, c.m) + rect(62, 48, 76, 70, 18, c.l) + rect(34, 88, 32, 62, 16, c.d) + rect(134, 88, 32, 62, 16, c.d) + rect(58, 112, 84, 38, 10, c.m) +
    rect(58, 112, 84, 12, 6, c.a) + path("M46 148 H56 L50 166 H44Z", c.w) + path("M154 148 H144 L150 166 H156Z", c.w),
  table: (c) =>
    line("M58 92 L46 164", c.w, 8) + line("M142 92 L154 164", c.w, 8) + line("M54 130 H146", c.w, 5) + rect(28, 82, 144, 14, 7, c.m) + rect(28, 82, 144, 6, 3, c.l) +
    path("M112 82 C104 62 112 50 112 44 H128 C128 50 136 62 128 82Z", c.n) + line("M120 46 C116 30 106 28 102 22 M120 46 C124 28 134 28 138 20", c.g, 4),
  bookcase: (c) =>
    rect(46, 28, 108, 136, 6, c.w) + [34, 78, 122].map((y) => rect(53, y, 94, 37, 2, "#8d6741")).join("") +
    [[58, 42, 10, c.m], [70, 38, 8, c.n], [80, 44, 12, c.d], [112, 46, 26, c.l], [58, 88, 22, c.k], [118, 84, 9, c.m], [129, 82, 11, c.a], [60, 128, 10, c.l], [72, 132, 12, c.m], [110, 138, 30, c.n]]
      .map(([x, y, w, fill]) => rect(x, y, w, (y < 78 ? 71 : y < 122 ? 115 : 159) - y, 2, fill)).join(""),
  stool: (c) =>
    line("M72 84 L54 164", c.w, 8) + line("M128 84 L146 164", c.w, 8) + line("M64 128 H136", c.w, 6) + rect(52, 66, 96, 22, 11, c.m) + rect(58, 66, 84, 9, 4.5, c.l),
  desklamp: (c) =>
    path("M112 88 L168 164 H60Z", "#ffe9b044") + line("M74 158 L56 100 L108 56", c.d, 6) + oval(56, 100, 6, 6, c.k) + path("M94 52 L124 40 L146 84 A34 20 -24 0 1 88 92Z", c.m) +
    path("M94 52 L108 46 L104 96 A34 20 -24 0 1 88 92Z", c.l) + oval(76, 160, 34, 6, c.k),
  floorlamp: (c) =>
    path("M74 74 H126 L152 164 H48Z", "#ffe9b033") + rect(97, 70, 6, 90, 3, c.k) + path("M78 24 H122 L140 76 H60Z", c.m) + path("M78 24 H92 L82 76 H60Z", c.l) + oval(100, 160, 32, 5, c.k),
  pendant: (c) =>
    rect(98, 14, 4, 52, 2, c.k) + path("M62 112 H138 L164 168 H36Z", "#ffe9b038") + path("M48 114 A52 50 0 0 1 152 114Z", c.m) + path("M48 114 A52 50 0 0 1 92 65 C76 76 68 94 68 114Z", c.l) + rect(88, 58, 24, 12, 5, c.w) + oval(100, 116, 16, 9, "#fff1c9"),
  shoe: (c) =>
    path("M28 106 C36 112 52 112 60 88 C72 96 84 98 92 92 C110 116 136 122 160 126 C172 130 178 138 176 148 H28Z", c.m) +
    path("M28 106 C36 112 52 112 60 88 L68 92 C66 118 52 132 28 132Z", c.d) + path("M138 121 C172 124 180 138 176 148 H146 C150 138 146 128 138 121Z", c.l) + path("M24 144 H180 a10 10 0 0 1 -8 20 H34 a10 10 0 0 1 -10 -10Z", c.n) +
    line("M84 104 L96 96 M96 112 L108 104 M110 119 L120 111", c.n, 4) + line("M66 142 C92 142 108 136 116 126", c.l, 6),
  boot: (c) =>
    path("M56 36 H106 V100 C124 112 162 108 166 140 V148 H52Z", c.m) + path("M56 36 H74 L68 148 H52Z", c.d) + path("M52 146 H170 V156 a8 8 0 0 1 -8 8 H104 L98 158 V164 H52Z", c.k) + line("M92 56 H108 M92 72 H108 M94 88 H109", c.n, 5) + rect(54, 34, 54, 10, 5, c.l),
  sandal: (c) =>
    path("M22 138 C50 124 66 150 104 146 C140 142 160 130 178 140 C184 158 170 164 150 164 H34 C22 164 18 150 22 138Z", c.w) + path("M22 138 C50 124 66 150 104 146 C140 142 160 130 178 140 L177 150 C150 142 130 156 100 156 C70 158 50 136 21 148Z", c.d) +
    line("M104 148 C112 112 138 108 158 138", c.m, 14) + line("M38 138 C40 100 70 98 78 144", c.m, 11) + line("M74 118 L118 122", c.m, 8),
  jacket: (c) =>
    path("M72 36 H128 L164 62 L172 148 L148 152 L142 96 V164 H58 V96 L52 152 L28 148 L36 62Z", c.m) + path("M72 36 H128 L142 52 V164 H102 V52Z", c.d) + path("M76 36 L100 58 L124 36 L116 26 H84Z", c.l) +
    line("M100 58 V164", c.n, 3) + rect(66, 118, 22, 6, 3, c.l) + rect(112, 118, 22, 6, 3, c.m),
  shirt: (c) =>
    path("M74 38 C84 50 116 50 126 38 L160 54 L178 92 L152 104 L144 90 V164 H56 V90 L48 104 L22 92 L40 54Z", c.m) + path("M74 38 C84 50 116 50 126 38 L134 42 C120 62 80 62 66 42Z", c.d) + path("M56 90 L40 54 L56 47 L66 164 H56Z", c.l) + rect(112, 80, 20, 3, 1.5, c.d),
  vest: (c) =>
    path("M68 36 H84 C88 54 112 54 116 36 H132 C132 68 140 82 148 88 V164 H52 V88 C60 82 68 68 68 36Z", c.m) + path("M52 104 H148 V118 H52Z", c.n) + path("M52 88 C60 82 68 68 68 36 H76 C76 80 68 100 66 164 H52Z", c.l),
  shorts: (c) =>
    path("M48 56 H152 L166 148 L108 154 L100 98 L92 154 L34 148Z", c.m) + rect(48, 52, 104, 16, 5, c.d) + path("M48 68 L34 148 L50 150 L64 68Z", c.l) + line("M94 66 L90 84 M106 66 L110 84", c.n, 3.5),
  watch: (c) =>
    path("M78 24 H122 L128 68 H72Z", c.d) + path("M78 172 H122 L128 132 H72Z", c.d) + oval(100, 100, 44, 44, c.m) + oval(100, 100, 35, 35, c.n) + line("M100 100 V76 M100 100 L116 108", c.k, 5) +
    [0, 90, 180, 270].map((turn) => `<rect x="98.5" y="68" width="3" height="7" fill="${c.d}" transform="rotate(${turn} 100 100)"/>`).join("") + rect(143, 94, 8, 12, 3, c.k),
  helmet: (c) =>
    path("M30 132 C28 70 68 46 104 46 C146 46 172 80 172 126 C150 136 122 128 104 128 C80 128 60 142 30 132Z", c.m) + path("M30 132 C28 80 60 52 90 47 C68 66 56 96 58 134 C48 136 38 135 30 132Z", c.l) +
    path("M92 62 C110 58 122 66 128 84 C116 80 104 80 88 84Z", c.k) + path("M76 96 C100 90 130 92 150 104 C124 104 100 106 76 114Z", c.k) + line("M66 132 C72 156 92 164 110 164 C124 162 130 146 134 130", c.d, 6),
  light: (c) =>
    path("M120 84 L192 50 V150 L120 116Z", "#ffe9b055") + rect(44, 78, 66, 44, 12, c.m) + path("M106 74 H118 a6 6 0 0 1 6 6 V120 a6 6 0 0 1 -6 6 H106Z", c.d) + rect(118, 82, 8, 36, 4, "#fff1c9") + rect(52, 84, 40, 8, 4, c.l) + path("M60 122 H92 L86 150 H66Z", c.k) + rect(54, 148, 44, 16, 8, c.d),
  saddle: (c) =>
    path("M26 84 C60 66 90 96 178 88 C184 98 176 106 160 106 C120 108 104 116 86 132 C62 144 26 136 22 108 C20 96 22 88 26 84Z", c.m) + path("M26 84 C60 66 90 96 178 88 C180 92 180 95 178 97 C100 106 60 82 24 98 C23 92 24 88 26 84Z", c.l) +
    line("M60 134 C80 146 120 140 152 108", c.k, 5) + rect(92, 132, 14, 34, 3, c.k),
  tent: (c) =>
    path("M100 44 L180 162 H20Z", c.m) + path("M100 44 L20 162 H74Z", c.l) + path("M100 44 L126 162 H74Z", c.d) + path("M100 74 L112 162 H88Z", "#2b2c33") + line("M100 44 L106 32", c.w, 4) + line("M20 162 L10 168 M180 162 L190 168", c.w, 4),
  sleepingbag: (c) =>
    rect(34, 92, 132, 70, 35, c.m) + oval(64, 127, 30, 35, c.l) + oval(64, 127, 20, 24, c.m) + oval(64, 127, 10, 12, c.d) + rect(106, 92, 9, 70, 2, c.k) + rect(138, 94, 9, 66, 2, c.k) + line("M110 92 C112 74 140 74 142 94", c.k, 5),
  backpack: (c) =>
    line("M78 48 C78 22 122 22 122 48", c.k, 7) + rect(52, 42, 96, 122, 34, c.m) + rect(40, 96, 20, 52, 10, c.d) + rect(140, 96, 20, 52, 10, c.d) + rect(66, 104, 68, 52, 12, c.d) + rect(66, 104, 68, 16, 8, c.l) + line("M72 82 H128", c.k, 4) + rect(95, 114, 10, 14, 3, c.n),
  bag: (c) =>
    line("M74 80 C74 36 126 36 126 80", c.w, 7) + path("M46 76 H154 L164 154 a10 10 0 0 1 -10 10 H46 a10 10 0 0 1 -10 -10Z", c.m) + path("M46 76 H66 L58 164 H46 a10 10 0 0 1 -10 -10Z", c.l) + rect(40, 102, 120, 8, 0, c.d) + rect(90, 98, 20, 18, 4, c.n),
  stove: (c) =>
    line("M66 164 L84 124 M134 164 L116 124", c.k, 6) + rect(82, 104, 36, 24, 8, c.m) + path("M88 104 C82 90 98 84 100 72 C104 84 118 90 112 104Z", "#6aa9d8") + rect(54, 66, 92, 6, 3, c.k) + path("M62 28 H138 V56 a10 10 0 0 1 -10 10 H72 a10 10 0 0 1 -10 -10Z", c.d) + rect(56, 24, 88, 8, 4, c.l),
  grill: (c) =>
    line("M72 112 L48 166 M128 112 L152 166", c.k, 7) + line("M62 140 H138", c.k, 5) + oval(48, 158, 9, 9, c.d) + path("M34 86 H166 A66 50 0 0 1 34 86Z", c.m) + path("M34 80 A66 54 0 0 1 166 80Z", c.m) + path("M34 80 A66 54 0 0 1 84 28 C66 44 58 62 58 80Z", c.l) + rect(30, 79, 140, 8, 4, c.k) + rect(88, 20, 24, 8, 4, c.w),
  jar: (c) =>
    rect(50, 88, 100, 76, 18, c.m) + rect(50, 88, 22, 76, 14, c.l) + rect(56, 58, 88, 34, 10, c.n) + rect(56, 80, 88, 10, 4, "#dcd3c2") + rect(80, 116, 52, 26, 4, c.n) + rect(88, 123, 36, 4, 2, c.d) + rect(88, 131, 24, 3, 1.5, c.d),
  dropper: (c) =>
    rect(68, 82, 64, 82, 14, c.m) + rect(68, 82, 16, 82, 10, c.l) + rect(84, 62, 32, 24, 4, c.k) + path("M90 62 V40 a10 10 0 0 1 20 0 V62Z", c.d) + rect(80, 110, 46, 34, 4, c.n) + rect(87, 118, 32, 4, 2, c.d) + rect(87, 127, 20, 3, 1.5, c.d),
  pump: (c) =>
    rect(62, 74, 76, 90, 16, c.m) + rect(62, 74, 18, 90, 12, c.l) + rect(86, 58, 28, 18, 5, c.k) + rect(96, 36, 8, 24, 2, c.k) + path("M72 34 H116 a6 6 0 0 1 0 12 H84 L72 42Z", c.k) + rect(78, 104, 50, 38, 4, c.n) + rect(86, 113, 34, 4, 2, c.d) + rect(86, 122, 22, 3, 1.5, c.d),
  tube: (c) =>
    path("M64 40 H136 L126 136 H74Z", c.m) + path("M64 40 H84 L88 136 H74Z", c.l) + rect(60, 34, 80, 10, 3, c.d) + rect(74, 136, 52, 28, 6, c.n) + [82, 92, 102, 112].map((x) => rect(x, 140, 4, 20, 2, "#dcd3c2")).join("") + rect(86, 70, 30, 5, 2.5, c.n) + rect(86, 81, 20, 4, 2, c.n),
  perfume: (c) =>
    rect(52, 78, 96, 86, 12, c.a) + rect(60, 100, 80, 56, 8, c.m) + path("M60 118 C86 106 112 128 140 114 V148 a8 8 0 0 1 -8 8 H68 a8 8 0 0 1 -8 -8Z", c.d) + rect(86, 60, 28, 20, 3, "#c9a765") + rect(78, 32, 44, 32, 6, c.k) + rect(60, 84, 8, 66, 4, c.n),
  dryer: (c) =>
    rect(34, 52, 116, 56, 28, c.m) + path("M140 60 L172 52 V108 L140 100Z", c.k) + oval(62, 80, 20, 20, c.d) + oval(62, 80, 11, 11, c.k) + path("M66 104 H100 L108 156 a8 8 0 0 1 -8 8 H86 a10 10 0 0 1 -10 -8Z", c.d) + rect(88, 60, 46, 8, 4, c.l) + rect(86, 116, 8, 16, 4, c.n),
  blocks: (c) =>
    rect(36, 114, 52, 50, 6, c.m) + rect(100, 114, 52, 50, 6, c.d) + rect(68, 64, 52, 50, 6, c.l) + path("M94 34 L116 62 H72Z", "#dfa342") + oval(62, 139, 13, 13, c.n) + rect(115, 128, 22, 22, 3, c.a) + path("M94 76 L106 100 H82Z", c.n),
  train: (c) =>
    rect(40, 84, 80, 46, 10, c.m) + rect(108, 54, 46, 76, 8, c.d) + rect(116, 64, 30, 24, 4, c.a) + rect(104, 46, 54, 12, 5, c.w) + rect(54, 54, 18, 32, 4, c.w) + oval(63, 50, 14, 7, c.l) + rect(28, 126, 136, 12, 5, c.w) +
    [54, 98, 140].map((x) => oval(x, 148, 16, 16, c.k) + oval(x, 148, 7, 7, c.l)).join(""),
  bear: (c) =>
    oval(64, 50, 17, 17, c.d) + oval(136, 50, 17, 17, c.d) + oval(100, 134, 46, 34, c.m) + oval(52, 126, 16, 24, c.d) + oval(148, 126, 16, 24, c.d) + oval(100, 78, 46, 42, c.m) + oval(100, 92, 20, 16, c.a) + oval(84, 72, 5, 5, c.k) + oval(116, 72, 5, 5, c.k) + oval(100, 86, 7, 5, c.k) + oval(100, 138, 24, 20, c.a) + oval(70, 158, 18, 10, c.d) + oval(130, 158, 18, 10, c.d),
  puzzle: (c) =>
    path("M44 60 H88 a14 14 0 1 1 24 0 H156 V104 a14 14 0 1 0 0 24 V164 H112 a14 14 0 1 0 -24 0 H44 V128 a14 14 0 1 1 0 -24Z", c.m) + path("M44 60 H62 V164 H44 V128 a14 14 0 1 1 0 -24Z", c.l) + path("M112 164 H156 V146 H112Z", c.d),
  book: (c) =>
    path("M52 36 H144 a8 8 0 0 1 8 8 V164 H62 a12 12 0 0 1 -12 -12 V44 a8 8 0 0 1 2 -8Z", c.d) + path("M60 150 H150 V160 H62 a6 6 0 0 1 -2 -10Z", c.n) + path("M58 36 H144 a8 8 0 0 1 8 8 V148 H62 C56 148 52 150 50 152 V44 a8 8 0 0 1 8 -8Z", c.m) + rect(50, 40, 12, 108, 3, c.d) +
    oval(108, 80, 24, 24, c.a) + path("M86 90 L102 70 L112 82 L120 74 L131 88 A24 24 0 0 1 86 90Z", c.d) + rect(82, 120, 52, 6, 3, c.n) + rect(90, 131, 36, 4, 2, c.n),
  stroller: (c) =>
    path("M96 96 V40 A58 58 0 0 1 152 96Z", c.d) + path("M96 96 V40 A58 58 0 0 1 128 50 L112 96Z", c.l) + path("M42 96 H152 C150 122 132 134 104 134 C72 134 46 124 42 96Z", c.m) + line("M44 98 L30 64 H18", c.k, 7) + line("M76 130 L66 148 M118 132 L130 148", c.k, 6) +
    oval(66, 150, 15, 15, c.k) + oval(66, 150, 6, 6, c.n) + oval(132, 150, 15, 15, c.k) + oval(132, 150, 6, 6, c.n),
  spade: (c) =>
    `<g transform="rotate(18 100 100)">` + rect(95, 44, 10, 78, 4, c.w) + line("M84 34 H116 M100 34 V50", c.d, 9) + path("M78 104 H122 V134 C122 152 108 160 100 166 C92 160 78 152 78 134Z", c.m) + path("M78 104 H96 V162 C88 156 78 150 78 134Z", c.l) + "</g>",
  secateurs: (c) =>
    `<g transform="rotate(24 100 100)">` + path("M92 92 C76 110 74 142 84 168 H96 C92 142 96 116 106 100Z", c.m) + path("M108 92 C124 110 126 142 116 168 H104 C108 142 104 116 94 100Z", c.d) + path("M94 98 C84 74 92 46 102 30 C112 52 114 76 108 98Z", "#aab3b8") + path("M92 98 C82 88 78 72 82 60 C92 70 100 84 104 96Z", "#8b9499") + oval(100, 96, 7, 7, c.k) + "</g>",
  plant: (c) =>
    path("M100 112 C60 112 40 84 44 52 C78 54 100 78 100 112Z", c.g) + path("M100 112 C140 108 160 76 154 46 C122 50 100 76 100 112Z", "#4f7a50") + path("M100 116 C84 84 88 48 104 28 C120 52 118 88 100 116Z", "#79a572") +
    path("M66 112 H134 L126 156 a10 10 0 0 1 -10 8 H84 a10 10 0 0 1 -10 -8Z", c.m) + path("M66 112 H84 L88 164 H84 a10 10 0 0 1 -10 -8Z", c.l) + rect(60, 106, 80, 14, 6, c.d),
  tree: (c) =>
    rect(96, 72, 8, 50, 3, c.w) + oval(100, 58, 44, 38, c.g) + oval(76, 68, 24, 22, "#79a572") + oval(122, 46, 20, 18, "#4f7a50") + [[84, 48], [112, 72], [104, 36], [130, 62]].map(([x, y]) => oval(x, y, 4, 5, c.l)).join("") +
    path("M64 116 H136 L128 156 a10 10 0 0 1 -10 8 H82 a10 10 0 0 1 -10 -8Z", c.m) + rect(58, 110, 84, 14, 6, c.d),
  lavender: (c) =>
    [[70, 40, -14], [86, 28, -6], [102, 24, 2], [118, 30, 8], [134, 42, 16]].map(([x, y, lean]) => line(`M${100 + lean} 116 Q${x} 84 ${x} ${y}`, c.g, 4) + [0, 9, 18, 27].map((step) => oval(x, y + step, 7 - step / 9, 6, step % 2 ? "#8f7fb8" : "#a596cd")).join("")).join("") +
    path("M64 112 H136 L126 156 a10 10 0 0 1 -10 8 H84 a10 10 0 0 1 -10 -8Z", c.m) + rect(60, 106, 80, 14, 6, c.d),
  fridge: (c) =>
    rect(60, 24, 80, 140, 10, c.m) + rect(60, 24, 18, 140, 8, c.l) + rect(60, 74, 80, 4, 0, c.d) + rect(124, 44, 6, 22, 3, c.k) + rect(124, 88, 6, 36, 3, c.k),
  washer: (c) =>
    rect(48, 36, 104, 128, 10, c.m) + rect(48, 36, 104, 26, 10, c.l) + oval(100, 112, 38, 38, c.k) + oval(100, 112, 29, 29, "#8fb0c4") + path("M72 118 C88 106 110 130 128 116 A29 29 0 0 1 72 118Z", "#6d93ab") + oval(132, 49, 6, 6, c.k) + rect(58, 45, 34, 8, 4, c.d),
  wheel: (c) =>
    oval(100, 104, 60, 60, c.k) + oval(100, 104, 42, 42, c.l) + oval(100, 104, 36, 36, c.d) + [0, 72, 144, 216, 288].map((turn) => `<rect x="95" y="68" width="10" height="36" rx="4" fill="${c.l}" transform="rotate(${turn} 100 104)"/>`).join("") + oval(100, 104, 10, 10, c.n),
  vase: (c) =>
    path("M84 60 H116 C114 82 142 96 138 132 C136 152 124 164 112 164 H88 C76 164 64 152 62 132 C58 96 86 82 84 60Z", c.m) + path("M84 60 H94 C92 88 72 100 74 132 C76 152 84 160 90 164 H88 C76 164 64 152 62 132 C58 96 86 82 84 60Z", c.l) + rect(80, 54, 40, 10, 5, c.d) + line("M98 56 C96 36 84 32 78 18 M102 56 C104 34 118 34 124 22", c.g, 4) + oval(77, 20, 7, 10, "#79a572") + oval(125, 24, 7, 10, c.g),
};

// The first pattern found in the title wins, else the first found in the category path.
const WORDS = [
  ["earbuds", /earbud/], ["headphones", /headphone|headset/], ["soundbar", /soundbar/], ["turntable", /turntable|vinyl/],
  ["speaker", /speaker|subwoofer|acoustic|audio/], ["webcam", /webcam/], ["lens", /\blens/], ["camera", /camera|photo/],
  ["dock", /docking|laptop stand/], ["phone", /phone|tablet/], ["keyboard", /keyboard|piano/], ["mouse", /\bmouse|\bmice/],
  ["monitor", /monitor|\btv\b|video|projector/], ["laptop", /laptop|notebook|ultrabook|convertible|desktop|computer/],
  ["kettle", /kettle|teapot/], ["toaster", /toaster|microwave|oven/], ["blender", /blender|grinder|mixer|coffee|juicer/],
  ["knives", /knife|knives/], ["pan", /saucepan|\bpan\b|cookware|hob|dinnerware/], ["stove", /camp stove/],
  ["lavender", /lavender|\brose/], ["tree", /\btree/], ["plant", /fern|monstera|plant|garden\.plants/],
  ["sleepingbag", /sleeping bag/], ["backpack", /backpack|carrier|pannier/], ["saddle", /saddle/], ["helmet", /helmet/],
  ["light", /bike light|headlamp|torch|flashlight/], ["tent", /\btent|camping/], ["pendant", /pendant|ceiling/],
  ["floorlamp", /floor lamp/], ["desklamp", /lamp|light(?=,|$)|lighting/], ["armchair", /armchair|sofa|living_room|\bchair|bedroom/],
  ["bookcase", /bookcase|shelf|cabinet/], ["stool", /stool/], ["table", /\btable|\bdesk\b|furniture/],
  ["bear", /bear|plush|doll/], ["train", /train\b/], ["puzzle", /puzzle/], ["stroller", /stroller|buggy|carriage|car seat/],
  ["shorts", /shorts|trousers|jeans|underwear/], ["vest", /vest|jersey/], ["jacket", /jacket|parka|fleece|coat/],
  ["boot", /boot/], ["sandal", /sandal/], ["shoe", /shoe|sneaker|loafer|keds|moccasin/], ["shirt", /shirt|polo|apparel|dress/],
  ["watch", /watch|clock/], ["dryer", /dryer/], ["perfume", /parfum|cologne|mist|fragrance|perfume/],
  ["dropper", /serum|hair oil/], ["pump", /cleanser|shampoo|conditioner|soap/], ["tube", /sunscreen|tube/], ["jar", /cream|beauty|skin|cosmet|medicine/],
  ["book", /book|atlas|stor(y|ies)|stationery|paper/], ["blocks", /building|marble|toy|kids|game/],
  ["grill", /grill|smoker|barbecue/], ["secateurs", /secateur|trimmer|scissors|shears/], ["spade", /spade|rake|hose|tool|drill|saw|construction/],
  ["fridge", /refrigerator|fridge|freezer/], ["washer", /washer|dishwasher|washing|vacuum|iron|appliance/],
  ["wheel", /auto|tire|wheel|bicycle|scooter|sport|cycling/], ["bag", /bag|wallet|umbrella|accessor/],
];

function motif(item) {
  for (const text of [item.title ?? "", item.category ?? ""]) {
    const found = WORDS.find(([, pattern]) => pattern.test(text.toLowerCase()));
    if (found) return MOTIFS[found[0]];
  }
  return MOTIFS.vase;
}

/** The backdrop's number, the same for a whole category: 0 to TONES - 1. */
export function tone(item) {
  return hash((item.category ?? "").split(".").slice(0, 2).join(".")) % TONES;
}

/** The picture of an item as an `<svg>` element; decoration only, since the title always stands beside it. */
export function artwork(item) {
  const figure = document.createElement("span");
  figure.className = "art";
  figure.dataset.tone = tone(item);
  const shadow = `<ellipse cx="100" cy="166" rx="66" ry="7" fill="#000" opacity=".13"/>`;
  figure.innerHTML = `<svg viewBox="0 0 200 200" aria-hidden="true" focusable="false">${shadow}${motif(item)(palette(item))}</svg>`;
  return figure;
}
