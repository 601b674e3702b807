/** The time of an event: now, or when a call was made that had to wait for the script to load. */

let replayedMs = 0;

/** Milliseconds since the Unix epoch. */
export const now = () => replayedMs || Date.now();

/** Runs `action`, which does not throw, as if it were `atMs`. */
export function runAt(atMs, action) {
  replayedMs = atMs;
  const result = action();
  replayedMs = 0;
  return result;
}

/**
 * Runs `action` when the page has nothing better to do, or after 20 ms: after a click Chromium says for a second that it
 * expects more input, and is idle never. Returns a handle that is not 0.
 */
export const whenIdle = (action) =>
  (window.requestIdleCallback ?? setTimeout)(action, { timeout: 20 }); // Safari has none; its timer reads 0 there

export const isVisible = () => !document.hidden;
