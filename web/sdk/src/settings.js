/** What `createFreshet` can be told, and what holds where it is told nothing. `freshet.d.ts` says what each means. */

/** What a person did goes out at once; what merely happened (impressions, scroll, dwell) waits for company. */
const IMMEDIATE = ["click", "view_product", "add_to_cart", "remove_from_cart", "purchase", "search", "identify"];

export const DEFAULTS = {
  impressionMs: 1000,
  consent: "granted",
  sessionIdleMs: 30 * 60_000,
  respectSignals: true,
  flushMs: 250,
  queueLimit: 1000,
  retryMs: 500,
  requestTimeoutMs: 10_000,
  batchSize: 50,
  queueBytes: 500_000,
  pendingMs: 10_000,
  retryMaxMs: 30_000,
  progressMs: 10_000,
  refreshMs: 300,
  immediate: IMMEDIATE,
};
