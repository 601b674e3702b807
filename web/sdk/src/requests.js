/** Requests to the two services. */

/** A service's address without a slash at its end. */
export const addressOf = (url) => (url ?? "").replace(/\/+$/, "");

/** Texts go as text/plain, which keeps the request "simple": no CORS preflight stands before a click. */
export const post = (core, url, body, keepalive) =>
  fetch(url, { method: "POST", body, credentials: "omit", keepalive, signal: AbortSignal.timeout?.(core.requestTimeoutMs) });
