/**
 * Measures how fresh things are: for every event, when the collector answered, when the stored profile held it,
 * and when a recommendation that knew of it was on the page. Times are `performance.now()` milliseconds.
 */

const FIRST_POLLS = { everyMs: 50, forMs: 2500 };
const LATER_POLLS = { everyMs: 300, forMs: 20_000 };
const KEPT = 120;
const PASSIVE = ["impression", "page_view", "scroll", "dwell"];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Freshness {
  constructor(freshet) {
    this.freshet = freshet;
    this.entries = []; // newest first: {id, event, itemId, trackedMs, answeredMs, tookMs, inProfileMs, shownMs, changed, refused}
    this.profile = null;
    this.watchAll = false; // with the drawer open, passive events are followed too
    this.listeners = new Set();
    freshet.on("tracked", (detail) => this.onTracked(detail));
    freshet.on("answered", (detail) => this.onAnswered(detail));
    freshet.on("rejected", (detail) => this.onRejected(detail));
  }

  /** Calls `listener` at each change; returns a function that stops it. */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  changed() {
    for (const listener of this.listeners) listener(this);
  }

  find(ids) {
    return this.entries.filter((entry) => ids.includes(entry.id));
  }

  onTracked({ id, event, product_id, metadata, at_ms }) {
    const entry = { id, event, itemId: product_id, metadata, trackedMs: at_ms, passive: PASSIVE.includes(event) };
    this.entries = [entry, ...this.entries].slice(0, KEPT);
    this.changed();
  }

  onAnswered({ ids, answered_ms, took_ms }) {
    const batch = this.find(ids);
    for (const entry of batch) Object.assign(entry, { answeredMs: answered_ms, tookMs: took_ms });
    this.changed();
    if (batch.length && (this.watchAll || batch.some((entry) => !entry.passive))) this.follow(batch);
  }

  onRejected({ id, reason }) {
    for (const entry of this.find([id])) entry.refused = reason;
    this.changed();
  }

  /** Asks for the profile until it holds the batch: one message is folded at once, so its last event speaks for all. */
  async follow(batch) {
    const last = batch.findLast((entry) => !entry.refused);
    if (!last) return;
    const event = { event_id: last.id, event: last.event, product_id: last.itemId };
    for (const { everyMs, forMs } of [FIRST_POLLS, LATER_POLLS]) {
      const untilMs = performance.now() + forMs;
      while (performance.now() < untilMs) {
        const profile = await this.freshet.profile(event);
        if (profile?.contains_event) return this.arrived(batch, profile);
        await pause(everyMs);
      }
    }
    for (const entry of batch) entry.late = true;
    this.changed();
  }

  arrived(batch, profile) {
    const nowMs = performance.now();
    for (const entry of batch) entry.inProfileMs = nowMs;
    this.freshet.settled(batch.map((entry) => entry.id));
    this.profile = profile;
    this.changed();
  }

  /** A slate is on the page: every event that it was made with has reached the visitor's eyes. */
  shown(slate, changed) {
    const nowMs = performance.now();
    for (const entry of this.find(slate.client?.included ?? [])) {
      if (entry.shownMs == null) Object.assign(entry, { shownMs: nowMs, changed });
    }
    this.changed();
  }

  async readProfile() {
    this.profile = (await this.freshet.profile()) ?? this.profile;
    this.changed();
  }

  /** Milliseconds from the collector's answer to `name` ("inProfileMs" or "shownMs") of each event that has both. */
  delays(name) {
    return this.entries
      .filter((entry) => entry.answeredMs != null && entry[name] != null && !entry.passive)
      .map((entry) => Math.max(0, entry[name] - entry.answeredMs));
  }
}

/** The q-quantile (0 to 1) by nearest rank, or null of nothing. */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : null;
}
