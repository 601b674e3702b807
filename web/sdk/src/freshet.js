/**
 * Freshet browser SDK: sends what a visitor does to the collector and asks the API what to show next.
 *
 *   <script type="module">
 *     import { createFreshet } from "https://cdn.example/freshet.js";
 *     const freshet = createFreshet({ collector: "https://collect.example", api: "https://api.example", pages: true });
 *     freshet.track("view_product", { product_id: "p456", category: "electronics" });
 *     const slate = await freshet.recommend({ placement: "home", k: 12 });
 *   </script>
 *
 * Nothing here throws into the host page: what goes wrong is told to `on("error", …)` listeners.
 * Delivery is at least once; every event carries its own id, so a repeated one changes nothing downstream.
 *
 * The parts share one object, `core`: the settings, and what each part gives the others.
 */

import { isVisible, whenIdle } from "./clock.js";
import { addConsent, asObject } from "./consent.js";
import { watchClicks, watchElements } from "./elements.js";
import { addEvents } from "./events.js";
import { makeId } from "./ids.js";
import { addImpressions } from "./impressions.js";
import { addKeptQueue } from "./kept_queue.js";
import { addListeners } from "./listeners.js";
import { observeMedia } from "./media.js";
import { addOutbox } from "./outbox.js";
import { watchPages } from "./pages.js";
import { addRecommendations } from "./recommendations.js";
import { DEFAULTS } from "./settings.js";
import { createShop } from "./shop.js";
import { addSlots } from "./slots.js";
import { addStorage, CONSENT } from "./storage.js";
import { addVisitor } from "./visitor.js";

export { makeId };

/** One visitor's connection to Freshet. `options`: see `freshet.d.ts`. */
export function createFreshet(options) {
  const core = { ...DEFAULTS, ...options };
  addListeners(core);
  addStorage(core);
  addConsent(core);
  addVisitor(core);
  addKeptQueue(core);
  addOutbox(core);
  addEvents(core);
  addImpressions(core);
  addRecommendations(core);
  addSlots(core);
  const media = (element, fields) => observeMedia(core, element, fields);
  const shop = createShop(core);

  // ---- consent ---------------------------------------------------------------------------------------------

  /** Takes the visitor's decision, {analytics, personalization}; returns what holds, or null while it is pending. */
  function consent(decision) {
    const before = core.agreed();
    if (decision) {
      core.save(CONSENT, { ...asObject(before), ...decision });
      apply(before);
    }
    const bits = core.agreed();
    return bits === null ? null : asObject(bits);
  }

  function apply(before) {
    if (core.agreed()) {
      if (!before) core.persist();
      core.flush();
    } else {
      core.discard();
      core.settle();
      core.erase();
    }
    core.emit("consent", asObject(core.agreed()));
  }

  // ---- leaving and coming back -----------------------------------------------------------------------------

  function back() {
    core.emit("show");
    core.retryNow();
    core.adopt();
  }

  core.listen(document, "visibilitychange", () => (isVisible() ? back() : core.hide()));
  core.listen(window, "pagehide", core.leave);
  core.listen(window, "pageshow", back);
  core.listen(window, "online", back);
  core.listen(window, "storage", ({ key }) => {
    const before = core.agreed();
    core.forget(key);
    if (core.agreed() !== before) apply(before);
  });

  // ---- what happens by itself ------------------------------------------------------------------------------

  const handlers = {
    view: (_, fields) => shop.view(fields),
    impression: core.observe,
    media,
    slot: (element, { product_id: productId, variant }, placement) =>
      core.place(element, { placement: placement || "home", productId, variant, k: +element.dataset.freshetK || 20 }),
    banner: (element, _, placement) => core.place(element, { placement: placement || "home" }, true),
  };
  const start = core.guarded("start", () => core.pages && watchPages(core));
  if (document.prerendering) core.listen(document, "prerenderingchange", start);
  else start();
  watchClicks(core);
  const settle = core.guarded("start", () => {
    if (core.agreed() === 0) core.erase();
    core.adopt();
    if (core.elements) watchElements(core, handlers);
  });
  whenIdle(settle);

  /** Sends what waits and stops listening. */
  function close() {
    core.leave();
    for (const stop of core.stops) stop();
  }

  const nothing = () => {};
  const otherwise = { observe: nothing, on: nothing, pending: [] };
  const methods = {
    track: core.track,
    page: core.page,
    identify: core.identify,
    reset: core.reset,
    consent,
    ...shop,
    slot: core.place,
    observeMedia: media,
    observe: core.observe,
    flush: core.flush,
    close,
    pending: () => core.pending().map(({ wire }) => JSON.parse(wire)),
    settled: (ids) => ids.forEach(core.settle),
    recommend: core.recommend,
    profile: core.profile,
    on: core.on,
  };
  const known = (id) => (core.agreed() === 0 ? null : core.whom()[id] ?? null);
  const client = {
    get anonymousId() {
      return known("anonymous_id");
    },
    get userId() {
      return known("user_id");
    },
    get sessionId() {
      return known("session_id");
    },
  };
  for (const name in methods) client[name] = core.guarded(name, methods[name], otherwise[name]);
  return client;
}
