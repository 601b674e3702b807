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

import { isVisible } from "./clock.js";
import { fill } from "./template.js";

/** Gives `core` its `slot`. `core.items(ids)`: what the site knows of items, {id: {title, …}}, now or later. */
export function addSlots(core, methods) {
  const spots = new Set(); // {place, asks, isBanner, cards, shown}
  let turn = 0;
  let timer = 0;
  let late; // something happened while nobody was looking

  /** Shows recommendations in an element, or the banner that comes with them; returns a function that stops it. */
  methods.slot = (element, question, isBanner) => {
    const spot = { place: element, asks: { k: isBanner ? 1 : 20, ...question }, isBanner };
    spots.add(spot);
    refreshIn(30); // what is found on a page within moments is one question
    return () => spots.delete(spot);
  };

  function refreshIn(delayMs) {
    clearTimeout(timer);
    timer = setTimeout(refresh, delayMs);
  }

  /** Asks anew for all that is on the page; when it is hidden, once it is seen. */
  function refresh() {
    if ((late = !isVisible())) return;
    turn += 1;
    const groups = {};
    for (const spot of spots) {
      const { placement, productId, variant } = spot.asks;
      if (spot.place.isConnected) (groups[[placement, productId, variant]] ??= []).push(spot);
      else spots.delete(spot);
    }
    Object.values(groups).forEach(ask);
  }

  const ask = core.guarded(async (group) => {
    const asked = turn;
    const answer = await core.recommend({ ...group[0].asks, k: Math.max(...group.map(({ asks }) => asks.k)) });
    const items = (await core.items?.(answer.recommendations)) ?? {};
    if (asked === turn) for (const spot of group) draw(spot, answer, items);
  }, "slot");

  const templatesOf = (place) => place.querySelectorAll(":scope>template");

  function put(spot, cards, shown) {
    spot.cards = cards;
    spot.shown = shown;
    spot.place.replaceChildren(...templatesOf(spot.place), ...cards);
  }

  const draw = core.guarded((spot, answer, items) => {
    const { place, asks, isBanner } = spot;
    const feed = isBanner ? [answer.personalized_banner] : answer.ranked_feed.slice(0, asks.k);
    const shown = feed.map(({ id, headline }) => [id, headline]).join();
    if (shown !== spot.shown) {
      const [template] = templatesOf(place);
      const make = (entry) => asks.render?.(entry, items[entry.id]) ?? fill(template, { ...entry, ...items[entry.id] });
      put(spot, feed.map(make), shown);
    }
    feed.forEach(({ fields }, at) => core.observe(spot.cards[at], fields, true));
  }, "slot");

  const refreshSoon = () => refreshIn(core.refreshMs);
  core.on("tracked", ({ event }) => core.immediate.includes(event) && refreshSoon());
  core.on("consent", refreshSoon);
  // What was for somebody else goes at once, and what is under way for them is not shown.
  core.on("reset", () => {
    turn += 1;
    spots.forEach((spot) => put(spot, []));
    refreshSoon();
  });
  core.on("show", () => late && refresh());
}
