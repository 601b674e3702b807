/**
 * What could not be sent yet, in localStorage, until it is.
 *
 * Each tab writes under a key of its own, and holds a Web Lock of that name as long as something is there. A key whose
 * lock is free belongs to a tab that is gone: whoever gets the lock takes the events over, so that two tabs never send
 * the same. Where there are no Web Locks (plain http), nothing outlives the page.
 */

import { makeId } from "./ids.js";
const QUEUE = "freshet.queue.";
const SETTLE_MS = 300; // other processes see a removal a little later; until then nobody else may look

/** Gives `core` its `keepLines`, `abandon` and `inherit`; `core.found(lines)` gets what a tab that is gone has left, oldest first. */
export function addKeptQueue(core) {
  const { shelf } = core;
  const locks = globalThis.navigator?.locks;
  let key;
  let release;

  /**
   * Keeps the lines, the newer ones where there is no room for all; without any, nothing is kept. A page that is `leaving`
   * asks for no lock: it would be granted to a page that sleeps in the browser's cache, which then loses its place there.
   */
  core.keepLines = (lines, leaving) => {
    if (lines[0] && !release && !leaving) {
      const until = new Promise((resolve) => (release = resolve));
      locks?.request(key, () => until).catch(() => {});
    }
    while (locks && lines[0]) {
      const text = lines.join("\n");
      if (text.length < core.queueBytes && core.writeDown(key, text)) return;
      lines = lines.slice(1 + lines.length / 8);
    }
    delete shelf[key];
    core.abandon();
  };

  /** What is kept now is for whoever comes. */
  core.abandon = () => {
    release = release?.();
    key = QUEUE + makeId();
  };

  core.abandon();

  function takeOver(other) {
    const text = shelf[other];
    delete shelf[other];
    if (text) core.found(text.split("\n"));
    return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  }

  /** Looks for what other tabs have left. */
  core.inherit = core.guarded(async () => {
    for (const other of core.keysOf(QUEUE)) {
      if (other !== key) await locks?.request(other, { ifAvailable: true }, (lock) => lock && takeOver(other));
    }
  });
}
