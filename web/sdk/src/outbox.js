/**
 * Events on their way to the collector: batches by size and time, retries with backoff, a beacon when the page goes.
 *
 * An entry is {id, event, wire, atMs}, `wire` being the event as it will be sent. The visitor's decision is said once for
 * a request, as it is when the request goes out.
 *
 * While the collector answers, nothing is written to storage. Once it fails or the browser is offline, the queue is
 * kept there too, until it is sent. Delivery is at least once; an event's id makes a repetition harmless.
 */

import { asObject } from "./consent.js";
import { addressOf, post } from "./requests.js";

const MAX_IN_FLIGHT = 4;
const BATCH_CHARACTERS = 14_000;
const KEEPALIVE_CHARACTERS = 20_000; // of up to 3 bytes: browsers refuse more than 64 KiB of keepalive bodies
const KEEP_AFTER_MS = 100;
const MAX_ASKED_MS = 3_600_000;

/** Gives `core` its `queueUp`, `flush`, `retryNow`, `outOfSight`, `leave` and `discard`. */
export function addOutbox(core, methods) {
  const address = addressOf(core.collector) + "/v1/events" + (core.writeKey ? "?key=" + encodeURIComponent(core.writeKey) : "");
  const inFlight = new Set(); // batches
  let queue = [];
  let flushTimer;
  let retryTimer;
  let keepTimer;
  let notBeforeMs = 0;
  let attempts = 0;
  let kept;

  core.found = (lines) => {
    putBack(lines.map((wire) => ({ id: JSON.parse(wire).event_id, event: JSON.parse(wire).event, wire })));
    flushIn(0);
  };

  const troubled = () => retryTimer || attempts || !navigator.onLine;

  // ---- waiting ---------------------------------------------------------------------------------------------

  core.queueUp = (entry) => {
    queue.push(entry);
    if (queue.length > core.queueLimit) core.fail("queue", new Error(`dropped ${queue.shift().id}`));
    if (troubled()) keepSoon();
    if (core.immediate.includes(entry.event) || queue.length >= core.batchSize) flushIn(0);
    else if (!flushTimer) flushIn(core.flushMs);
  };

  /** At once means as soon as the page's own handlers are through: a click and the view it leads to are one message. */
  function flushIn(delayMs) {
    clearTimeout(flushTimer);
    flushTimer = setTimeout(core.flush, delayMs);
  }

  const putBack = (entries) => (queue = entries.concat(queue));

  /** What makes a request: it ends with the event that fills it. */
  function takeBatch() {
    let count = 0;
    let room = BATCH_CHARACTERS;
    while (queue[count] && count < core.batchSize && room > 0) room -= queue[count++].wire.length;
    return queue.splice(0, count);
  }

  // ---- sending ---------------------------------------------------------------------------------------------

  /** Sends what waits, unless the visitor has not decided or the collector has asked for patience. */
  methods.flush = () => {
    flushTimer = clearTimeout(flushTimer);
    while (queue[0] && core.agreed() && !retryTimer && inFlight.size < MAX_IN_FLIGHT) send(takeBatch());
  };

  function bodyOf(batch) {
    const head = JSON.stringify({ sent_at: new Date(), consent: asObject(core.decided()) });
    return `${head.slice(0, -1)},"events":[${batch.map(({ wire }) => wire)}]}`;
  }

  async function send(batch) {
    const startedMs = performance.now();
    let answer;
    inFlight.add(batch);
    try {
      const body = bodyOf(batch);
      batch.carried = body.length < KEEPALIVE_CHARACTERS;
      const response = await post(core, address, body, batch.carried);
      const { status } = response;
      const error = new Error(`answered ${status}`);
      if (/408|429|5../.test(status)) {
        error.waitFor = response.headers.get("Retry-After");
        throw error;
      }
      attempts = 0;
      answer = response.ok ? (await response.json().catch(() => 0)) || {} : { refused: `answered ${status}` };
    } catch (error) {
      if (inFlight.has(batch)) retryLater(batch, error);
    }
    inFlight.delete(batch);
    if (answer) answered(batch, answer, startedMs);
    if (kept) keepNow();
    core.flush();
  }

  function answered(batch, { accepted, errors, withheld, refused }, startedMs) {
    let rejected = 0;
    const ids = batch.map(({ id, event }, at) => {
      const error = errors?.find?.((it) => it?.index === at);
      const reason = error ? `${error.field}: ${error.reason}` : refused;
      if (reason) {
        rejected += 1;
        core.settle(id);
        core.emit("rejected", { id, event, reason });
      }
      return id;
    });
    const answered_ms = performance.now();
    if (!refused) core.emit("answered", { ids, accepted, rejected, withheld, answered_ms, took_ms: answered_ms - startedMs });
  }

  /** Puts the batch back in front and waits: what the collector asked for, else exponential with jitter. */
  function retryLater(batch, error) {
    const askedMs = Math.min(MAX_ASKED_MS, error.waitFor * 1000 || Date.parse(error.waitFor) - Date.now() || 0);
    const backoffMs = Math.min(core.retryMaxMs, core.retryMs * 2 ** attempts) * ((1 + Math.random()) / 2);
    putBack(batch);
    keepSoon();
    notBeforeMs = Math.max(notBeforeMs, Date.now() + askedMs);
    retryTimer ||= setTimeout(core.retryNow, Math.max(backoffMs, askedMs), (attempts += 1));
    core.fail("collector", error);
  }

  /** Tries again before its time, but not before the collector's. */
  core.retryNow = () => {
    if (Date.now() < notBeforeMs) return;
    retryTimer = clearTimeout(retryTimer);
    core.flush();
  };

  // ---- keeping ---------------------------------------------------------------------------------------------

  const keepSoon = () => (keepTimer ||= setTimeout(keepNow, KEEP_AFTER_MS));

  /** Writes down what is not known to have arrived. */
  function keepNow(leaving) {
    keepTimer = clearTimeout(keepTimer);
    const waiting = core.agreed() ? [...(troubled() ? inFlight : []), queue].flat() : [];
    kept = waiting[0];
    core.keepLines(waiting.map(({ wire }) => wire), leaving);
  }

  /** The page is out of sight and may be killed: what can be sent is sent, what cannot is kept. */
  core.outOfSight = () => {
    core.emit("hide");
    core.retryNow();
    keepNow();
  };

  /**
   * The page goes away, perhaps to come back: the browser carries the rest, or the next page does. What is under way with
   * `keepalive` is the browser's, and lost should it fail, for to send it again would double it wherever it does not.
   * Without `keepalive` it may be cut off, and goes again.
   */
  core.leave = () => {
    core.emit("hide");
    for (const batch of inFlight) if (!batch.carried && inFlight.delete(batch)) putBack(batch);
    while (queue[0] && core.agreed() && !troubled()) {
      const batch = takeBatch();
      if (!navigator.sendBeacon?.(address, bodyOf(batch))) {
        putBack(batch);
        break;
      }
    }
    keepNow(true);
    core.abandon();
    core.discard();
  };

  /** Forgets all that waits, also what might have to be sent again. */
  core.discard = () => {
    queue = [];
    inFlight.clear();
    keepNow();
  };
}
