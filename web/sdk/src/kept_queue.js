/**
 * What could not be sent yet, in localStorage, until it is.
 *
 * Each tab writes under a key of its own, and holds a Web Lock of that name as long as something is there. A key whose
 * lock is free belongs to a tab that is gone: whoever gets the lock takes the events over, so that two tabs never send
 * the same. Where there are no Web Locks (plain http), a key counts as left behind when it is a minute old.
 */

import { makeId } from "./ids.js";

const PREFIX = "freshet.queue.";
const LEFT_BEHIND_MS = 60_000;
const SETTLE_MS = 300; // other processes see a removal a little later; until then nobody else may look

/** `onFound(lines)` gets what a tab that is gone has left, oldest first. */
export function createKeptQueue(storage, onFound) {
  const { locks } = globalThis.navigator;
  let key = PREFIX + makeId();
  let release = null;

  /** Keeps the lines, the newer ones where there is no room for all; without any, nothing is kept. */
  function keep(lines) {
    if (!lines.length) return drop();
    if (!release) {
      const until = new Promise((resolve) => (release = resolve));
      locks?.request(key, () => until).catch(() => {});
    }
    let kept = lines;
    while (kept.length && !storage.write(key, [Date.now(), ...kept].join("\n"))) kept = kept.slice(kept.length / 2 + 1);
  }

  /** Everything that was kept has been sent. */
  function drop() {
    if (!release) return;
    storage.remove(key);
    leave();
  }

  /** What is kept now is for whoever comes. */
  function leave() {
    release?.();
    release = null;
    key = PREFIX + makeId();
  }

  async function takeOver(other) {
    const [writtenAt, ...lines] = storage.read(other)?.split("\n") ?? [];
    if (!lines.length || (!locks && Date.now() - writtenAt < LEFT_BEHIND_MS)) return;
    onFound(lines);
    storage.remove(other);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  }

  /** Looks for what other tabs have left. */
  async function adopt() {
    for (const other of storage.keys(PREFIX)) {
      if (other === key) continue;
      if (locks) await locks.request(other, { ifAvailable: true }, (lock) => lock && takeOver(other));
      else await takeOver(other);
    }
  }

  return { keep, leave, adopt };
}
