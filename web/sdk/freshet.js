/**
 * Freshet browser SDK: sends what a visitor does to the collector and asks the API what to show next.
 *
 *   <script type="module">
 *     import { createFreshet } from "https://cdn.example/freshet.js";
 *     const freshet = createFreshet({ collector: "https://collect.example", api: "https://api.example" });
 *     freshet.page();
 *     freshet.track("view_product", { product_id: "p456", category: "electronics" });
 *     const slate = await freshet.recommend({ placement: "home", k: 12 });
 *   </script>
 *
 * Nothing here throws into the host page: what goes wrong is told to `on("error", …)` listeners.
 * Delivery is at least once; every event carries its own id, so a repeated one changes nothing downstream.
 */

const IDENTITY_KEY = "freshet.identity";
const SESSION_KEY = "freshet.session";
const KEEPALIVE_BYTES = 60_000; // browsers refuse more than 64 KiB of keepalive bodies in flight
const BATCH_BYTES = 48_000;
const MAX_IN_FLIGHT = 4;
const PENDING_LIMIT = 50;

/** What a person did goes out at once; what merely happened (impressions, scroll, dwell) waits for company. */
const IMMEDIATE = ["click", "view_product", "add_to_cart", "remove_from_cart", "purchase", "search", "identify"];

const DEFAULTS = {
  collector: "",
  api: "",
  flushMs: 250,
  batchSize: 50,
  queueLimit: 1000,
  immediate: IMMEDIATE,
  sessionIdleMs: 30 * 60_000,
  pendingMs: 10_000,
  retryMs: 500,
  retryMaxMs: 30_000,
  requestTimeoutMs: 10_000,
  impressionMs: 1000,
};

/** A random UUID (version 4), also where `crypto.randomUUID` is missing (plain-http pages, older browsers). */
export function makeId() {
  if (globalThis.crypto?.randomUUID) return crypto.randomUUID();
  const bytes = new Uint8Array(16);
  if (globalThis.crypto?.getRandomValues) crypto.getRandomValues(bytes);
  else for (let i = 0; i < 16; i += 1) bytes[i] = Math.random() * 256;
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * One visitor's connection to Freshet.
 *
 * Options: `collector` and `api` base URLs; `flushMs` (batching delay), `batchSize` (events a request),
 * `queueLimit` (events kept while the collector is away; the oldest go first), `immediate` (event names that
 * flush at once), `sessionIdleMs`, `pendingMs` (how long an event counts as not yet processed), `retryMs` and
 * `retryMaxMs` (backoff), `requestTimeoutMs`, `impressionMs` (how long half of an item must be visible).
 */
export function createFreshet(options = {}) {
  const settings = { ...DEFAULTS, ...options };
  const [collectorUrl, apiUrl] = [settings.collector, settings.api].map((url) => String(url ?? "").replace(/\/+$/, ""));
  const eventsUrl = `${collectorUrl}/v1/events`;

  // ---- listeners -----------------------------------------------------------------------------------------

  const listeners = {};

  /** Calls `listener` at each "tracked", "answered", "rejected" or "error"; returns a function that stops it. */
  function on(name, listener) {
    (listeners[name] ??= new Set()).add(listener);
    return () => listeners[name].delete(listener);
  }

  function emit(name, detail) {
    for (const listener of listeners[name] ?? []) {
      try {
        listener(detail);
      } catch (error) {
        if (name !== "error") emit("error", { where: `${name} listener`, error });
      }
    }
  }

  function guarded(where, action, otherwise = null) {
    return (...args) => {
      try {
        return action(...args);
      } catch (error) {
        emit("error", { where, error });
        return otherwise;
      }
    };
  }

  /** As `guarded`, for what answers later: a refused promise becomes null. */
  function guardedAnswer(where, action) {
    return async (...args) => {
      try {
        return await action(...args);
      } catch (error) {
        emit("error", { where, error });
        return null;
      }
    };
  }

  // ---- who and which visit -------------------------------------------------------------------------------

  const memory = {}; // storage may be blocked or full; the visit then lasts as long as the page

  function load(key) {
    try {
      return JSON.parse(localStorage.getItem(key)) ?? memory[key];
    } catch {
      return memory[key];
    }
  }

  function save(key, value) {
    memory[key] = value;
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      /* kept in memory */
    }
  }

  function identity() {
    const known = load(IDENTITY_KEY);
    if (known?.anonymousId) return known;
    const fresh = { anonymousId: makeId(), userId: null };
    save(IDENTITY_KEY, fresh);
    return fresh;
  }

  function sessionId() {
    const now = Date.now();
    const known = load(SESSION_KEY);
    if (!known?.id || now - known.lastMs > settings.sessionIdleMs) {
      const fresh = { id: makeId(), lastMs: now };
      save(SESSION_KEY, fresh);
      return fresh.id;
    }
    if (now - known.lastMs > 1000) save(SESSION_KEY, { id: known.id, lastMs: now });
    return known.id;
  }

  /** Ties this visitor to an account from now on; `traits` travel as metadata of the identify event. */
  function identify(userId, traits = {}) {
    if (!userId) throw new TypeError(`identify: expected a user id, got ${userId}`);
    save(IDENTITY_KEY, { ...identity(), userId: String(userId) });
    return track("identify", traits);
  }

  /** Forgets account, anonymous id and session, as at logout on a shared device. */
  function reset() {
    flush();
    recent.length = 0;
    save(IDENTITY_KEY, { anonymousId: makeId(), userId: null });
    save(SESSION_KEY, null);
  }

  // ---- the queue -----------------------------------------------------------------------------------------

  const queue = []; // {id, name, json, bytes, atMs}
  const recent = []; // the same entries, until the profile is known to hold them or pendingMs have passed
  let flushTimer = null;
  let retryTimer = null;
  let attempts = 0;
  let inFlight = 0;
  let keepaliveBytes = 0;

  /** Queues one event and returns its id. `product_id` and `timestamp` are its own fields, all else metadata. */
  function track(name, fields = {}) {
    const { product_id, timestamp, ...metadata } = fields;
    const { anonymousId, userId } = identity();
    const entry = { id: makeId(), name, atMs: Date.now() };
    entry.json = JSON.stringify({
      event_id: entry.id,
      event: name,
      user_id: userId ?? undefined,
      anonymous_id: anonymousId,
      session_id: sessionId(),
      product_id: product_id == null ? undefined : String(product_id),
      timestamp: new Date(timestamp ?? entry.atMs).toISOString(),
      metadata: Object.fromEntries(Object.entries(metadata).filter(([, value]) => value != null)),
    });
    entry.bytes = new TextEncoder().encode(entry.json).length;
    enqueue(entry);
    emit("tracked", { id: entry.id, event: name, product_id, metadata, at_ms: performance.now() });
    return entry.id;
  }

  function enqueue(entry) {
    queue.push(entry);
    recent.push(entry);
    if (recent.length > PENDING_LIMIT) recent.shift();
    while (queue.length > settings.queueLimit) {
      emit("error", { where: "queue", error: new Error(`queue is full, dropped event ${queue.shift().id}`) });
    }
    if (settings.immediate.includes(entry.name) || queue.length >= settings.batchSize) flushSoon();
    else flushTimer ??= setTimeout(flush, settings.flushMs);
  }

  /** As soon as the page's own handlers are through: a click and the view it leads to are one message. */
  function flushSoon() {
    clearTimeout(flushTimer);
    flushTimer = setTimeout(flush, 0);
  }

  /** One page view; call it again after each navigation of a single-page app. */
  function page(fields = {}) {
    const { href } = location;
    return track("page_view", { url: href, title: document.title, referrer: document.referrer || null, ...fields });
  }

  /** Sends what waits, unless the collector has asked for patience. */
  function flush() {
    clearTimeout(flushTimer);
    flushTimer = null;
    while (queue.length && !retryTimer && inFlight < MAX_IN_FLIGHT) send(takeBatch());
  }

  function takeBatch() {
    let count = 0;
    let bytes = 0;
    while (count < queue.length && count < settings.batchSize) {
      bytes += queue[count].bytes;
      if (count > 0 && bytes > BATCH_BYTES) break;
      count += 1;
    }
    return queue.splice(0, count);
  }

  function bodyOf(batch) {
    const sentAt = new Date().toISOString();
    return `{"sent_at":"${sentAt}","events":[${batch.map((entry) => entry.json).join(",")}]}`;
  }

  // text/plain keeps the request "simple": no CORS preflight stands before a click.
  const BODY_TYPE = "text/plain;charset=UTF-8";

  async function send(batch) {
    const startedMs = performance.now();
    const bytes = batch.reduce((sum, entry) => sum + entry.bytes, 100);
    const keepalive = keepaliveBytes + bytes < KEEPALIVE_BYTES;
    inFlight += 1;
    if (keepalive) keepaliveBytes += bytes;
    try {
      const response = await fetch(eventsUrl, {
        method: "POST",
        body: bodyOf(batch),
        headers: { "Content-Type": BODY_TYPE },
        credentials: "omit",
        keepalive,
        signal: AbortSignal.timeout?.(settings.requestTimeoutMs),
      });
      await settle(batch, response, startedMs);
    } catch (error) {
      retryLater(batch, error, null);
    } finally {
      inFlight -= 1;
      if (keepalive) keepaliveBytes -= bytes;
      flush();
    }
  }

  async function settle(batch, response, startedMs) {
    const { status } = response;
    if (status === 408 || status === 429 || status >= 500) {
      retryLater(batch, new Error(`collector answered ${status}`), response.headers.get("Retry-After"));
    } else if (status === 413 && batch.length > 1) {
      settings.batchSize = Math.ceil(batch.length / 2);
      queue.unshift(...batch);
    } else if (!response.ok) {
      refuse(batch, `collector answered ${status}`);
    } else {
      attempts = 0;
      const answer = await response.json().catch(() => ({}));
      const errors = Array.isArray(answer.errors) ? answer.errors : [];
      for (const { index, field, reason } of errors) if (batch[index]) refuse([batch[index]], `${field}: ${reason}`);
      const answeredMs = performance.now();
      emit("answered", {
        ids: batch.map((entry) => entry.id),
        accepted: answer.accepted ?? batch.length,
        rejected: errors.length,
        answered_ms: answeredMs,
        took_ms: answeredMs - startedMs,
      });
    }
  }

  function refuse(entries, reason) {
    for (const entry of entries) {
      forget(entry.id);
      emit("rejected", { id: entry.id, event: entry.name, reason });
    }
  }

  /** Puts the batch back in front and waits: what the collector asked for, else exponential with jitter. */
  function retryLater(batch, error, retryAfter) {
    emit("error", { where: "collector", error });
    queue.unshift(...batch);
    if (retryTimer) return;
    const backoffMs = Math.min(settings.retryMaxMs, settings.retryMs * 2 ** attempts) * (0.5 + Math.random() / 2);
    const askedMs = Math.min(settings.retryMaxMs, Number(retryAfter) * 1000 || 0);
    attempts += 1;
    retryTimer = setTimeout(retryNow, Math.max(backoffMs, askedMs));
  }

  function retryNow() {
    clearTimeout(retryTimer);
    retryTimer = null;
    flush();
  }

  // ---- leaving the page ----------------------------------------------------------------------------------

  /** The page goes away: no answer can be waited for, so the browser carries the rest. */
  function beaconAll() {
    while (queue.length) {
      const batch = takeBatch();
      if (navigator.sendBeacon?.(eventsUrl, new Blob([bodyOf(batch)], { type: BODY_TYPE }))) continue;
      send(batch);
      if (inFlight >= MAX_IN_FLIGHT) return;
    }
  }

  function onVisibility() {
    if (document.visibilityState === "hidden") {
      for (const watched of timed) disarm(watched);
      retryNow(); // keepalive requests outlive the page, and can be retried if it comes back
    } else {
      for (const watched of timed) arm(watched);
    }
  }

  // ---- viewable impressions ------------------------------------------------------------------------------

  const watches = new WeakMap(); // element -> {fields, visible, timer, element}
  const timed = new Set(); // the watches that are half visible now
  const reported = new Set(); // request id, placement and item of every impression already sent
  let observer = null;

  /**
   * Reports an impression of `element` once half of it has been visible for a second, once for each request id,
   * placement and item. `fields`: product_id, request_id, placement, variant, position, propensity.
   * Observing an element again replaces its fields. Returns a function that stops it.
   */
  function observe(element, fields) {
    observer ??= new IntersectionObserver((entries) => entries.forEach(onIntersection), { threshold: [0, 0.5] });
    stopWatching(element);
    watches.set(element, { element, fields, timer: null });
    observer.observe(element);
    return () => stopWatching(element);
  }

  function stopWatching(element) {
    const watched = watches.get(element);
    if (!watched) return;
    disarm(watched);
    timed.delete(watched);
    watches.delete(element);
    observer.unobserve(element);
  }

  function onIntersection({ target, isIntersecting, intersectionRatio }) {
    const watched = watches.get(target);
    if (!watched) return;
    if (isIntersecting && intersectionRatio >= 0.5) {
      timed.add(watched);
      arm(watched);
    } else {
      timed.delete(watched);
      disarm(watched);
    }
  }

  function arm(watched) {
    if (document.visibilityState !== "visible" || watched.timer) return;
    watched.timer = setTimeout(guarded("impression", () => report(watched)), settings.impressionMs);
  }

  function disarm(watched) {
    clearTimeout(watched.timer);
    watched.timer = null;
  }

  function report(watched) {
    const { fields, element } = watched;
    const key = [fields.request_id, fields.placement, fields.product_id].join("|");
    stopWatching(element);
    if (reported.has(key)) return;
    reported.add(key);
    track("impression", fields);
  }

  // ---- asking --------------------------------------------------------------------------------------------

  /** The newest events that the stored profile may not hold yet; the API folds them in before it ranks. */
  function pending() {
    const oldestMs = Date.now() - settings.pendingMs;
    while (recent.length && recent[0].atMs < oldestMs) recent.shift();
    return recent.slice();
  }

  /** An event that the profile holds, or never will, need not be sent along any more. */
  function forget(eventId) {
    const index = recent.findIndex((entry) => entry.id === eventId);
    if (index >= 0) recent.splice(index, 1);
  }

  async function ask(path, init) {
    const signal = AbortSignal.timeout?.(settings.requestTimeoutMs);
    const response = await fetch(apiUrl + path, { credentials: "omit", signal, ...init });
    if (!response.ok) throw new Error(`API answered ${response.status}`);
    return response.json();
  }

  /**
   * The API's answer for a placement, or null when there is none. Beside the API's own fields it carries
   * `client`: {asked_ms, answered_ms, included} with the ids of the pending events that were sent along.
   */
  async function recommend({ placement = "home", k = 20, productId, variant, exclude } = {}) {
    const { anonymousId, userId } = identity();
    const entries = pending();
    const head = JSON.stringify({
      user_id: userId ?? undefined,
      anonymous_id: anonymousId,
      session_id: sessionId(),
      placement,
      product_id: productId ?? undefined,
      k,
      variant,
      exclude,
      sent_at: new Date().toISOString(), // by which the API repairs a wrong clock, as the collector does
    });
    const body = `${head.slice(0, -1)},"events":[${entries.map((entry) => entry.json).join(",")}]}`;
    const askedMs = performance.now();
    const headers = { "Content-Type": "application/json" };
    const answer = await ask("/v1/recommendations", { method: "POST", headers, body });
    const client = { asked_ms: askedMs, answered_ms: performance.now(), included: entries.map((entry) => entry.id) };
    return { ...answer, client };
  }

  /** The visitor's stored profile, or null, also where the API does not show profiles (FRESHET_PROFILE_VIEW). With `eventId`, `contains_event` says whether it is in. */
  async function profile({ eventId } = {}) {
    const { anonymousId, userId } = identity();
    const body = JSON.stringify({ user_id: userId ?? undefined, anonymous_id: anonymousId, event_id: eventId });
    const headers = { "Content-Type": "application/json" };
    const answer = await ask("/v1/profile", { method: "POST", headers, body }); // ids stay out of addresses and logs
    if (eventId && answer.contains_event) forget(eventId);
    return answer;
  }

  // ---- start ---------------------------------------------------------------------------------------------

  const handlers = [
    [document, "visibilitychange", guarded("visibilitychange", onVisibility)],
    [window, "pagehide", guarded("pagehide", beaconAll)],
    [window, "online", guarded("online", retryNow)],
  ];
  for (const [target, name, handler] of handlers) target.addEventListener(name, handler);

  /** Sends what waits and stops listening. */
  function close() {
    for (const [target, name, handler] of handlers) target.removeEventListener(name, handler);
    observer?.disconnect();
    for (const watched of timed) disarm(watched);
    beaconAll();
  }

  return {
    get anonymousId() {
      return identity().anonymousId;
    },
    get userId() {
      return identity().userId;
    },
    get sessionId() {
      return sessionId();
    },
    track: guarded("track", track),
    page: guarded("page", page),
    identify: guarded("identify", identify),
    reset: guarded("reset", reset),
    observe: guarded("observe", observe, () => {}),
    flush: guarded("flush", flush),
    close: guarded("close", close),
    pending: guarded("pending", () => pending().map((entry) => JSON.parse(entry.json)), []),
    settled: guarded("settled", (ids) => ids.forEach(forget)),
    recommend: guardedAnswer("recommend", recommend),
    profile: guardedAnswer("profile", profile),
    on: guarded("on", on, () => {}),
  };
}
