/**
 * Events on their way to the collector: batches by size and time, retries with backoff, a beacon when the page goes.
 *
 * An entry is {id, name, json, agreed, atMs}: the event as it will be sent, and the agreement (bits) under which it
 * was made, or null where the site's default held. Only entries of one agreement travel together, for it is said once
 * for the whole request.
 *
 * While the collector answers, nothing is written to storage. Once it fails or the browser is offline, the queue is
 * kept there too, until it is sent. Delivery is at least once; an event's id makes a repetition harmless.
 */

import { asObject } from "./consent.js";
import { createKeptQueue } from "./kept_queue.js";

const KEEPALIVE_BYTES = 60_000; // browsers refuse more than 64 KiB of keepalive bodies in flight
const BATCH_BYTES = 48_000;
const MAX_IN_FLIGHT = 4;
const KEEP_AFTER_MS = 100;
const MAX_ASKED_MS = 3_600_000;
const BODY_TYPE = "text/plain;charset=UTF-8"; // keeps the request "simple": no CORS preflight stands before a click

const bytesOf = (text) => new TextEncoder().encode(text).length;

/** `agreed()`: what holds now, null while it is pending; `onRefused(id)` hears of an event that will never arrive. */
export function createOutbox(settings, { emit, fail }, storage, agreed, onRefused) {
  const address = settings.collector + "/v1/events" + (settings.writeKey ? "?key=" + encodeURIComponent(settings.writeKey) : "");
  let queue = [];
  let queueBytes = 0;
  let era = 0; // what was in flight when the visitor withdrew, or when the page left, is not queued again
  let flushTimer = 0;
  let retryTimer = 0;
  let keepTimer = 0;
  let notBeforeMs = 0;
  let attempts = 0;
  let keepaliveBytes = 0;
  let kept = false;
  const inFlight = new Set();

  const keeper = createKeptQueue(storage, (lines) => {
    const found = lines.map(entryOf).filter(Boolean);
    putBack(found);
    flushSoon();
  });

  // ---- waiting ---------------------------------------------------------------------------------------------

  function add(entry) {
    queue.push(entry);
    queueBytes += entry.json.length;
    while (queue.length > settings.queueLimit || (queueBytes > settings.queueBytes && queue.length > 1)) {
      queueBytes -= queue[0].json.length;
      fail("queue", new Error(`queue is full, dropped event ${queue.shift().id}`));
    }
    if (troubled()) keepSoon();
    if (settings.immediate.includes(entry.name) || queue.length >= settings.batchSize) flushSoon();
    else flushTimer ||= setTimeout(flush, settings.flushMs);
  }

  /** As soon as the page's own handlers are through: a click and the view it leads to are one message. */
  function flushSoon() {
    clearTimeout(flushTimer);
    flushTimer = setTimeout(flush, 0);
  }

  function putBack(entries) {
    queue = [...entries, ...queue];
    queueBytes = queue.reduce((sum, { json }) => sum + json.length, 0);
  }

  /** The next entries of one agreement that fit into a request. */
  function takeBatch() {
    let count = 0;
    let bytes = 0;
    while (count < queue.length && count < settings.batchSize && queue[count].agreed === queue[0].agreed) {
      bytes += bytesOf(queue[count].json);
      if (count && bytes > BATCH_BYTES) break;
      count += 1;
    }
    const batch = queue.splice(0, count);
    for (const { json } of batch) queueBytes -= json.length;
    return batch;
  }

  // ---- sending ---------------------------------------------------------------------------------------------

  /** Sends what waits, unless the visitor has not decided or the collector has asked for patience. */
  function flush() {
    clearTimeout(flushTimer);
    flushTimer = 0;
    while (queue.length && agreed() && !retryTimer && inFlight.size < MAX_IN_FLIGHT) send(takeBatch());
  }

  function bodyOf(batch) {
    const consent = batch[0].agreed == null ? "" : `"consent":${JSON.stringify(asObject(batch[0].agreed))},`;
    return `{"sent_at":"${new Date().toISOString()}",${consent}"events":[${batch.map(({ json }) => json)}]}`;
  }

  async function send(batch) {
    const startedMs = performance.now();
    const sentIn = era;
    const body = bodyOf(batch);
    const bytes = bytesOf(body);
    const keepalive = keepaliveBytes + bytes < KEEPALIVE_BYTES;
    if (keepalive) keepaliveBytes += bytes;
    inFlight.add(batch);
    let again = null; // why the batch has to be sent once more
    try {
      const response = await fetch(address, {
        method: "POST",
        body,
        headers: { "Content-Type": BODY_TYPE },
        credentials: "omit",
        keepalive,
        signal: AbortSignal.timeout?.(settings.requestTimeoutMs),
      });
      again = await settle(batch, response, startedMs);
    } catch (error) {
      again = { error };
    }
    inFlight.delete(batch);
    if (keepalive) keepaliveBytes -= bytes;
    if (again && sentIn === era) retryLater(batch, again);
    if (kept) keepNow();
    flush();
  }

  /** Takes the answer; says why the batch has to be sent again, if so. */
  async function settle(batch, response, startedMs) {
    const { status, ok } = response;
    const error = new Error(`collector answered ${status}`);
    if (status === 408 || status === 429 || status >= 500) return { error, retryAfter: response.headers.get("Retry-After") };
    if (status === 413 && batch.length > 1) {
      settings.batchSize = Math.ceil(batch.length / 2);
      putBack(batch);
    } else if (!ok) {
      refuse(batch, error.message);
    } else {
      attempts = 0;
      const answer = await response.json().catch(() => ({}));
      const errors = Array.isArray(answer.errors) ? answer.errors : [];
      for (const { index, field, reason } of errors) if (batch[index]) refuse([batch[index]], `${field}: ${reason}`);
      const answeredMs = performance.now();
      emit("answered", {
        ids: batch.map(({ id }) => id),
        accepted: answer.accepted ?? batch.length,
        rejected: errors.length,
        withheld: answer.withheld ?? 0,
        answered_ms: answeredMs,
        took_ms: answeredMs - startedMs,
      });
    }
    return null;
  }

  function refuse(entries, reason) {
    for (const { id, name } of entries) {
      onRefused(id);
      emit("rejected", { id, event: name, reason });
    }
  }

  /** Puts the batch back in front and waits: what the collector asked for, else exponential with jitter. */
  function retryLater(batch, { error, retryAfter }) {
    fail("collector", error);
    putBack(batch);
    keepSoon();
    const askedMs = Math.min(MAX_ASKED_MS, Number(retryAfter) * 1000 || Date.parse(retryAfter) - Date.now() || 0);
    notBeforeMs = Math.max(notBeforeMs, Date.now() + askedMs);
    if (retryTimer) return;
    const backoffMs = Math.min(settings.retryMaxMs, settings.retryMs * 2 ** attempts) * (0.5 + Math.random() / 2);
    attempts += 1;
    retryTimer = setTimeout(retryNow, Math.max(backoffMs, askedMs));
  }

  /** Tries again before its time, but not before the collector's. */
  function retryNow() {
    if (Date.now() < notBeforeMs) return;
    clearTimeout(retryTimer);
    retryTimer = 0;
    flush();
  }

  // ---- keeping ---------------------------------------------------------------------------------------------

  const troubled = () => retryTimer || attempts || navigator.onLine === false;

  function keepSoon() {
    keepTimer ||= setTimeout(keepNow, KEEP_AFTER_MS);
  }

  /** Writes down what is not known to have arrived. */
  function keepNow() {
    clearTimeout(keepTimer);
    keepTimer = 0;
    const waiting = troubled() ? [...inFlight].flat().concat(queue) : queue;
    kept = waiting.length > 0 && !!agreed();
    keeper.keep(kept ? waiting.map(lineOf) : []);
  }

  const lineOf = ({ agreed: bits, json }) => `${bits ?? ""}${json}`;

  function entryOf(line) {
    const start = line.indexOf("{");
    const json = line.slice(start);
    try {
      const { event_id: id, event: name } = JSON.parse(json);
      return { id, name, json, agreed: start ? Number(line[0]) : null, atMs: 0 };
    } catch {
      return null; // somebody else's, or cut
    }
  }

  /** The page is out of sight and may be killed: what can be sent is sent, what cannot is kept. */
  function hide() {
    retryNow();
    if (agreed() && (troubled() || queue.length)) keepNow();
  }

  /** The page goes away: the browser carries the rest, or the next page does. */
  function leave() {
    if (!agreed()) return;
    while (queue.length && !troubled()) {
      const batch = takeBatch();
      if (navigator.sendBeacon?.(address, new Blob([bodyOf(batch)], { type: BODY_TYPE }))) continue;
      putBack(batch);
      break;
    }
    keepNow();
    if (kept) clear();
    keeper.leave();
    kept = false;
  }

  function clear() {
    era += 1;
    queue = [];
    queueBytes = 0;
  }

  /** Applies `change` to every waiting entry; those that it answers with nothing are gone. */
  function revise(change) {
    const waiting = [...inFlight].flat();
    if (waiting.some((entry) => !change(entry))) era += 1;
    const left = queue.filter(change);
    queue = [];
    putBack(left);
    if (kept) keepNow();
  }

  return { add, flush, retryNow, hide, leave, revise, adopt: keeper.adopt };
}
