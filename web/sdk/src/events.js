/** What is told of a visitor, and which of it may not have been processed yet. */

import { now } from "./clock.js";
import { makeId } from "./ids.js";
import { SESSION } from "./storage.js";

const PENDING_LIMIT = 50;

/** Gives `core` its `track`, `page`, `identify`, `reset`, `pending`, `settle` and `settled`. */
export function addEvents(core, methods) {
  let recent = []; // entries, until the profile is known to hold them or pendingMs have passed

  /**
   * Queues one event and returns its id, or null where the visitor agreed to nothing. `product_id` and `timestamp` are
   * its own fields, all else metadata. An `id` of its own makes an event that must count once, however often it is sent.
   */
  methods.track = (event, fields = {}, id = makeId()) => {
    if (core.agreed() === 0) return null;
    const { product_id, timestamp, ...metadata } = fields;
    for (const key in metadata) metadata[key] ?? delete metadata[key];
    const atMs = now();
    const wire = JSON.stringify({
      event_id: id,
      event,
      ...core.whom(),
      product_id: `${product_id ?? ""}` || undefined, // the contract knows no empty one
      timestamp: new Date(timestamp ?? atMs).toISOString(),
      metadata,
    });
    const entry = { id, event, wire, atMs };
    core.queueUp(entry);
    recent = [...recent.slice(1 - PENDING_LIMIT), entry];
    core.emit("tracked", { id, event, product_id, metadata, at_ms: performance.now() });
    return id;
  };

  /** One page view; call it again after each navigation of a single-page app, or let the option `pages` do it. */
  methods.page = (fields) =>
    core.track("page_view", { url: location.href, title: document.title, referrer: document.referrer || null, ...fields });

  /**
   * Ties this visitor to an account from now on; `traits` travel as metadata of the identify event, `token` is the
   * shop's proof of the account, which goes with its id until the next login or logout.
   */
  methods.identify = (userId, traits, token) => {
    if (!userId) throw new Error("no id");
    const { user_id, anonymous_id } = core.whom();
    core.renew(`${userId}`, anonymous_id, token);
    if (user_id && user_id != userId) core.emit("reset");
    return core.track("identify", { ...traits });
  };

  /** Forgets account, anonymous id and session, as at logout on a shared device. */
  methods.reset = () => {
    core.flush();
    core.settle();
    core.renew();
    core.remember(SESSION, null);
    core.emit("reset");
  };

  /** The newest events that the stored profile may not hold yet; the API folds them in before it ranks. */
  methods.pending = () => {
    recent = recent.filter(({ atMs }) => atMs >= Date.now() - core.pendingMs);
    return recent.map(({ wire }) => JSON.parse(wire));
  };

  /** An event that the profile holds, or never will, need not be sent along any more; without an id, none of them. */
  core.settle = (eventId) => (recent = recent.filter(({ id }) => eventId && id !== eventId));
  methods.settled = (eventIds) => eventIds.forEach(core.settle);
}
