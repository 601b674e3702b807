/** The backdrop that all items of a brand are shown before; its colour comes from the style sheet. */

const SCENES = [
  `<circle cx="100" cy="96" r="78"/>`,
  `<path d="M34 166 V92 a66 66 0 0 1 132 0 V166Z"/>`,
  `<path d="M0 128 Q60 96 118 120 T200 108 V200 H0Z"/>`,
  `<rect x="26" y="22" width="148" height="144" rx="26"/>`,
  `<path d="M14 166 a86 86 0 0 1 172 0Z"/>`,
  `<path d="M0 200 L120 0 H200 V200Z"/>`,
];

/** The scene of a brand's number. */
export function scene(brand) {
  return `<g class="scene">${SCENES[brand % SCENES.length]}</g>`;
}
