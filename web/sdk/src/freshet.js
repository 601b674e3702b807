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
 */

import { isVisible, now, whenIdle } from "./clock.js";
import { asObject, createConsent } from "./consent.js";
import { watchClicks, watchElements } from "./elements.js";
import { makeId } from "./ids.js";
import { createImpressions } from "./impressions.js";
import { createListeners } from "./listeners.js";
import { observeMedia } from "./media.js";
import { createOutbox } from "./outbox.js";
import { watchPages } from "./pages.js";
import { createRecommendations } from "./recommendations.js";
import { DEFAULTS } from "./settings.js";
import { createShop } from "./shop.js";
import { createSlots } from "./slots.js";
import { createStorage, CONSENT, SESSION } from "./storage.js";
import { createVisitor } from "./visitor.js";

export { makeId };

const PENDING_LIMIT = 50;

/** One visitor's connection to Freshet. `options`: see `freshet.d.ts`. */
export function createFreshet(options) {
  const settings = { ...DEFAULTS, ...options };
  const listeners = createListeners();
  const { on, emit, guarded, listen, stops } = listeners;
  const storage = createStorage(() => consent.current());
  const consent = createConsent(settings, storage);
  const visitor = createVisitor(settings, storage);
  const outbox = createOutbox(settings, listeners, storage, consent, forget);
  const impressions = createImpressions(settings, listeners, track);
  const { recommend, profile } = createRecommendations(settings, visitor, consent, pending, forget);
  const place = createSlots(settings, listeners, recommend, impressions.observe);
  const media = (element, fields) => observeMedia(settings, listeners, track, element, fields);
  const shop = createShop(track);
  let recent = []; // entries, until the profile is known to hold them or pendingMs have passed

  // ---- events ----------------------------------------------------------------------------------------------

  /**
   * Queues one event and returns its id, or null where the visitor agreed to nothing. `product_id` and `timestamp` are
   * its own fields, all else metadata. An `id` of its own makes an event that must count once, however often it is sent.
   */
  function track(event, fields = {}, id = makeId()) {
    if (consent.current() === 0) return null;
    const { product_id, timestamp, ...metadata } = fields;
    for (const key in metadata) metadata[key] ?? delete metadata[key];
    const atMs = now();
    const wire = JSON.stringify({
      event_id: id,
      event,
      ...visitor.whom(),
      product_id: product_id == null ? undefined : `${product_id}`,
      timestamp: new Date(timestamp ?? atMs).toISOString(),
      metadata,
    });
    const entry = { id, name: event, wire, atMs };
    outbox.enqueue(entry);
    recent = [...recent.slice(1 - PENDING_LIMIT), entry];
    emit("tracked", { id, event, product_id, metadata, at_ms: performance.now() });
    return id;
  }

  /** One page view; call it again after each navigation of a single-page app, or let the option `pages` do it. */
  const page = (fields) =>
    track("page_view", { url: location.href, title: document.title, referrer: document.referrer || null, ...fields });

  /** Ties this visitor to an account from now on; `traits` travel as metadata of the identify event. */
  function identify(userId, traits) {
    if (!userId) throw new TypeError(`expected a user id, got ${userId}`);
    visitor.renew(`${userId}`, visitor.whom().anonymous_id);
    return track("identify", traits);
  }

  /** Forgets account, anonymous id and session, as at logout on a shared device. */
  function reset() {
    outbox.flush();
    recent = [];
    visitor.renew();
    storage.save(SESSION, null);
  }

  /** The newest events that the stored profile may not hold yet; the API folds them in before it ranks. */
  function pending() {
    recent = recent.filter(({ atMs }) => atMs >= Date.now() - settings.pendingMs);
    return recent;
  }

  /** An event that the profile holds, or never will, need not be sent along any more. */
  function forget(eventId) {
    recent = recent.filter(({ id }) => id !== eventId);
  }

  // ---- consent ---------------------------------------------------------------------------------------------

  /** Takes the visitor's decision, {analytics, personalization}; returns what holds, or null while it is pending. */
  function decide(decision) {
    const before = consent.current();
    if (decision) {
      storage.save(CONSENT, { ...asObject(before), ...decision });
      applyConsent(before);
    }
    const bits = consent.current();
    return bits === null ? null : asObject(bits);
  }

  function applyConsent(before) {
    if (consent.current()) {
      if (!before) storage.persist();
      outbox.flush();
    } else {
      outbox.discard();
      recent = [];
      storage.erase();
    }
    emit("consent", asObject(consent.current()));
  }

  // ---- leaving and coming back -----------------------------------------------------------------------------

  const adopt = guarded("adopt", outbox.adopt);

  function back() {
    emit("show");
    outbox.retryNow();
    adopt();
  }

  function leave() {
    emit("hide");
    outbox.leave();
  }

  listen(document, "visibilitychange", () => {
    if (isVisible()) return back();
    emit("hide");
    outbox.hide();
  });
  listen(window, "pagehide", leave);
  listen(window, "pageshow", back);
  listen(window, "online", back);
  listen(window, "storage", ({ key }) => {
    const before = consent.current();
    storage.forget(key);
    if (consent.current() !== before) applyConsent(before);
  });

  /** Sends what waits and stops listening. */
  function close() {
    leave();
    for (const stop of stops) stop();
    impressions.stop();
  }

  // ---- what happens by itself ------------------------------------------------------------------------------

  const handlers = {
    view: (_, fields) => shop.view(fields),
    impression: impressions.observe,
    media,
    slot: (element, { product_id: productId, variant }, placement) =>
      place(element, { placement: placement || "home", productId, variant, k: +element.dataset.freshetK || 20 }),
    banner: (element, _, placement) => place(element, { placement: placement || "home" }, true),
  };
  const start = guarded("start", () => settings.pages && watchPages(settings, listeners, track, page));
  if (document.prerendering) listen(document, "prerenderingchange", start);
  else start();
  watchClicks(settings, listeners, track, impressions.fieldsAt);
  const settle = guarded("start", () => {
    if (consent.current() === 0) storage.erase();
    adopt();
    if (settings.elements) watchElements(listeners, track, handlers);
  });
  whenIdle(settle);

  const nothing = () => {};
  const otherwise = { observe: nothing, on: nothing, pending: [] };
  const methods = {
    track,
    page,
    identify,
    reset,
    consent: decide,
    ...shop,
    slot: place,
    observeMedia: media,
    observe: impressions.observe,
    flush: outbox.flush,
    close,
    pending: () => pending().map(({ wire }) => JSON.parse(wire)),
    settled: (ids) => ids.forEach(forget),
    recommend,
    profile,
    on,
  };
  const known = (id) => (consent.current() === 0 ? null : visitor.whom()[id] ?? null);
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
  for (const name in methods) client[name] = guarded(name, methods[name], otherwise[name]);
  return client;
}
