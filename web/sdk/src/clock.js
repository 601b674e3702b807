/** The time of an event: now, or when a call was made that had to wait for the script to load. */

let replayedMs = 0;

/** Milliseconds since the Unix epoch. */
export const now = () => replayedMs || Date.now();

/** Runs `action` as if it were `atMs`. */
export function runAt(atMs, action) {
  replayedMs = atMs;
  try {
    return action();
  } finally {
    replayedMs = 0;
  }
}

/** Runs `action` when the page has nothing better to do, within a second. */
export function whenIdle(action) {
  if (globalThis.requestIdleCallback) requestIdleCallback(action, { timeout: 1000 });
  else setTimeout(action, 1); // Safari
}
