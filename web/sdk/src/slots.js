/**
 * Places on the page that show what is recommended, and ask again after the visitor has done something.
 *
 *   <div data-freshet-slot="home" data-freshet-k="8">
 *     <template><a href="/product/{id}">{title}</a></template>
 *   </div>
 *   <div data-freshet-banner="home"><template><a href="/product/{product_id}"><b>{headline}</b> {text}</a></template></div>
 *
 * Slots and banners of one placement share one question. Impressions and clicks of what they show are told with the
 * request's id, placement, variant, position and propensity.
 */

import { fill } from "./template.js";

const PASSIVE = /^(impression|page_view|scroll|dwell|media_progress)$/;

export function createSlots(settings, { on, guarded }, recommend, observe) {
  const spots = new Set(); // {element, question, banner, cards, key}
  const turns = {}; // the newest question of each group
  let timer = 0;
  let stale = false; // something happened while nobody was looking

  /** Shows recommendations in an element, or the banner that comes with them; returns a function that stops it. */
  function place(element, question, banner) {
    const spot = { element, question: { placement: "home", k: banner ? 1 : 20, ...question }, banner, cards: new Map() };
    spots.add(spot);
    refreshSoon(0);
    return () => spots.delete(spot);
  }

  function refreshSoon(delayMs, all) {
    stale ||= all;
    clearTimeout(timer);
    timer = setTimeout(refresh, delayMs);
  }

  /** Asks for the groups with something new in them, or for all; not while the page is hidden. */
  function refresh() {
    if (document.visibilityState !== "visible") return;
    const groups = {};
    for (const spot of spots) {
      const { placement, productId, variant } = spot.question;
      if (spot.element.isConnected) (groups[[placement, productId, variant]] ??= []).push(spot);
      else spots.delete(spot);
    }
    for (const name in groups) if (stale || groups[name].some(({ key }) => !key)) ask(name, groups[name]);
    stale = false;
  }

  const ask = guarded("slot", async (name, group) => {
    const turn = (turns[name] = (turns[name] ?? 0) + 1);
    const answer = await recommend({ ...group[0].question, k: Math.max(...group.map(({ question }) => question.k)) });
    const items = (answer && (await settings.items?.(answer.recommendations))) ?? {};
    if (answer && turns[name] === turn) for (const spot of group) draw(spot, answer, items);
  });

  const draw = guarded("slot", (spot, answer, items) => {
    const { element, question, banner } = spot;
    const feed = banner ? [bannerOf(answer)] : answer.ranked_feed.slice(0, question.k);
    const key = feed.map(({ id, headline }) => [id, headline]).join();
    const template = element.querySelector("template");
    if (key !== spot.key) {
      const before = spot.cards;
      const make = (entry) => question.render?.(entry, items[entry.id]) ?? fill(template, { ...entry, ...items[entry.id] });
      spot.cards = new Map(feed.map((entry) => [entry.id, (!banner && before.get(entry.id)) || make(entry)]));
      element.replaceChildren(...[template, ...spot.cards.values()].filter(Boolean));
      spot.key = key;
    }
    for (const { id, fields } of feed) observe(spot.cards.get(id), fields, true);
  });

  function bannerOf({ personalized_banner: banner, request_id, variant }) {
    const { id, product_id } = banner;
    return { ...banner, fields: { product_id, request_id, placement: "banner", variant, position: 0, banner_id: id } };
  }

  on("tracked", ({ event }) => PASSIVE.test(event) || refreshSoon(settings.refreshMs, true));
  on("consent", () => refreshSoon(settings.refreshMs, true));
  on("show", refresh);

  return place;
}
