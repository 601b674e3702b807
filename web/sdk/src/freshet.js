/**
 * Freshet browser SDK: sends what a visitor does to the collector and asks the API what to show next.
 *
 *   <script type="module">
 *     import { createFreshet } from "https://cdn.example/freshet.js";
 *     const freshet = createFreshet({ collector: "https://collect.example", api: "https://api.example", auto: true });
 *     freshet.track("view_product", { product_id: "p456", category: "electronics" });
 *     const slate = await freshet.recommend({ placement: "home", k: 12 });
 *   </script>
 *
 * Nothing here throws into the host page: what goes wrong is told to `on("error", …)` listeners.
 * Delivery is at least once; every event carries its own id, so a repeated one changes nothing downstream.
 */

import { now, whenIdle } from "./clock.js";
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
import { createStorage, CONSENT, IDENTITY, SESSION } from "./storage.js";
import { createVisitor } from "./visitor.js";

export { makeId };

const PENDING_LIMIT = 50;
const ADOPT_AFTER_MS = 1000;
const PREFIX = "freshet.";

/** One visitor's connection to Freshet. `options`: see `freshet.d.ts`. */
export function createFreshet(options) {
  const settings = { ...DEFAULTS, ...options };
  for (const service of ["collector", "api"]) settings[service] = String(settings[service] ?? "").replace(/\/+$/, "");
  const listeners = createListeners();
  const { on, emit, guarded, listen, stops } = listeners;
  const storage = createStorage(() => !!consent.current());
  const consent = createConsent(settings, storage.load, storage.save);
  const visitor = createVisitor(settings, storage);
  const outbox = createOutbox(settings, listeners, storage, consent.current, forget);
  const impressions = createImpressions(settings, listeners, track);
  const { recommend, profile } = createRecommendations(settings, listeners, visitor, consent, pending);
  const recent = []; // entries, until the profile is known to hold them or pendingMs have passed

  const place = createSlots(settings, listeners, recommend, impressions.observe);
  const media = (element, fields) => observeMedia(settings, listeners, track, element, fields);
  const shop = createShop(track);
  watchClicks(settings, listeners, track, impressions.fieldsAt);

  // ---- events ----------------------------------------------------------------------------------------------

  /**
   * Queues one event and returns its id, or null where the visitor agreed to nothing. `product_id` and `timestamp` are
   * its own fields, all else metadata. An `id` of its own makes an event that must count once, however often it is sent.
   */
  function track(name, fields = {}, id = makeId()) {
    if (consent.current() === 0) return null;
    const { product_id, timestamp, ...rest } = fields;
    const metadata = Object.fromEntries(Object.entries(rest).filter(([, value]) => value != null));
    const { anonymousId, userId } = visitor.identity();
    const atMs = now();
    const json = JSON.stringify({
      event_id: id,
      event: name,
      user_id: userId ?? undefined,
      anonymous_id: anonymousId,
      session_id: visitor.sessionId(),
      product_id: product_id == null ? undefined : String(product_id),
      timestamp: new Date(timestamp ?? atMs).toISOString(),
      metadata,
    });
    const entry = { id, name, json, agreed: consent.decided(), atMs };
    recent.push(entry);
    if (recent.length > PENDING_LIMIT) recent.shift();
    outbox.add(entry);
    emit("tracked", { id, event: name, product_id, metadata, at_ms: performance.now() });
    return id;
  }

  /** One page view; call it again after each navigation of a single-page app, or let `auto` do it. */
  function page(fields) {
    return track("page_view", { url: location.href, title: document.title, referrer: document.referrer || null, ...fields });
  }

  /** Ties this visitor to an account from now on; `traits` travel as metadata of the identify event. */
  function identify(userId, traits) {
    if (!userId) throw new TypeError(`identify: expected a user id, got ${userId}`);
    visitor.login(userId);
    return track("identify", traits);
  }

  /** Forgets account, anonymous id and session, as at logout on a shared device. */
  function reset() {
    outbox.flush();
    recent.length = 0;
    visitor.renew();
  }

  /** The newest events that the stored profile may not hold yet; the API folds them in before it ranks. */
  function pending() {
    const oldestMs = Date.now() - settings.pendingMs;
    while (recent.length && recent[0].atMs < oldestMs) recent.shift();
    return recent.slice();
  }

  /** An event that the profile holds, or never will, need not be sent along any more. */
  function forget(eventId) {
    const index = recent.findIndex(({ id }) => id === eventId);
    if (index >= 0) recent.splice(index, 1);
  }

  // ---- consent ---------------------------------------------------------------------------------------------

  /** Takes the visitor's decision, {analytics, personalization}; returns what holds, or null while it is pending. */
  function decide(decision) {
    if (decision) {
      const before = consent.current();
      consent.decide(decision);
      applyConsent(before);
    }
    const bits = consent.current();
    return bits == null ? null : asObject(bits);
  }

  function applyConsent(before) {
    const bits = consent.current();
    emit("consent", asObject(bits));
    if (!bits) {
      outbox.revise(() => false);
      recent.length = 0;
      storage.erase();
      return;
    }
    if (!before) recognize();
    outbox.revise((entry) => (entry.agreed = (entry.agreed ?? bits) & bits));
    outbox.flush();
  }

  /** From now on ids may be stored: an id from earlier visits takes the place of the one in memory. */
  function recognize() {
    const [made, visit] = [storage.load(IDENTITY), storage.load(SESSION)];
    storage.forget();
    const known = storage.load(IDENTITY);
    if (visit) storage.save(SESSION, visit);
    if (!made) return;
    if (!known) return storage.save(IDENTITY, made);
    outbox.revise((entry) => (entry.json = entry.json.replace(made.anonymousId, known.anonymousId)));
    if (made.userId) visitor.login(made.userId);
  }

  // ---- leaving and coming back ------------------------------------------------------------------------------

  const adopt = guarded("adopt", outbox.adopt);

  listen(document, "visibilitychange", () => {
    if (document.visibilityState === "hidden") {
      emit("hide");
      outbox.hide();
    } else {
      emit("show");
      adopt();
    }
  });
  listen(window, "pagehide", leave);
  listen(window, "pageshow", ({ persisted }) => {
    if (!persisted) return;
    emit("show");
    adopt();
  });
  listen(window, "online", () => {
    outbox.retryNow();
    adopt();
  });
  let adoptTimer = 0;
  listen(window, "storage", ({ key, newValue }) => {
    if (key && !key.startsWith(PREFIX)) return;
    const before = consent.current();
    storage.forget(key);
    if (consent.current() !== before) applyConsent(before);
    else if (newValue && key.startsWith(PREFIX + "queue")) {
      clearTimeout(adoptTimer);
      adoptTimer = setTimeout(adopt, ADOPT_AFTER_MS);
    }
  });

  // ---- what happens by itself --------------------------------------------------------------------------------

  const wants = (part) => settings.auto === true || settings.auto?.[part];
  const start = guarded("start", () => {
    if (wants("pages")) watchPages(settings, listeners, track, page);
    if (wants("elements")) whenIdle(watch);
  });
  const watch = guarded("elements", () =>
    watchElements(listeners, track, {
      view: (_, fields) => shop.view(fields),
      impression: impressions.observe,
      media,
      slot: (element, { product_id: productId, variant }, placement) =>
        place(element, { placement: placement || "home", productId, variant, k: Number(element.dataset.freshetK) || 20 }),
      banner: (element, _, placement) => place(element, { placement: placement || "home" }, true),
    }),
  );
  if (document.prerendering) listen(document, "prerenderingchange", start);
  else start();
  whenIdle(() => (consent.current() === 0 ? storage.erase() : adopt()));

  function leave() {
    emit("hide");
    outbox.leave();
  }

  /** Sends what waits and stops listening. */
  function close() {
    leave();
    for (const stop of stops) stop();
    impressions.stop();
  }

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
    pending: () => pending().map(({ json }) => JSON.parse(json)),
    settled: (ids) => ids.forEach(forget),
    recommend,
    profile: async (question) => {
      const answer = await profile(question);
      if (answer?.contains_event) forget(question.eventId);
      return answer;
    },
    on,
  };
  const nothing = () => {};
  const otherwise = { observe: nothing, on: nothing, slot: nothing, observeMedia: nothing, pending: [] };
  for (const name in methods) methods[name] = guarded(name, methods[name], otherwise[name]);
  const idOf = (read) => (consent.current() === 0 ? null : read());
  return Object.defineProperties(methods, {
    anonymousId: { get: () => idOf(visitor.identity)?.anonymousId, enumerable: true },
    userId: { get: () => idOf(visitor.identity)?.userId, enumerable: true },
    sessionId: { get: () => idOf(visitor.sessionId), enumerable: true },
  });
}
