/** Who it is and which visit: ids without cookies. */

import { now } from "./clock.js";
import { makeId } from "./ids.js";
import { IDENTITY, SESSION } from "./storage.js";

const TOUCH_MS = 1000; // the time of the last event is written this often at most

export function createVisitor(settings, storage) {
  let writtenMs = 0;

  /** {anonymousId, userId}; made at the first look. */
  function identity() {
    const known = storage.load(IDENTITY);
    if (known?.anonymousId) return known;
    const fresh = { anonymousId: makeId(), userId: null };
    storage.save(IDENTITY, fresh);
    return fresh;
  }

  /** The visit's id: a new one after `sessionIdleMs` without an event. */
  function sessionId() {
    const atMs = now();
    let visit = storage.load(SESSION);
    if (!visit?.id || atMs - visit.lastMs > settings.sessionIdleMs) {
      visit = { id: makeId() };
      writtenMs = 0;
    }
    visit.lastMs = atMs; // in memory; other tabs learn of it with the next write
    if (atMs - writtenMs > TOUCH_MS) {
      writtenMs = atMs;
      storage.save(SESSION, visit);
    }
    return visit.id;
  }

  /** From now on this is the account's browser. */
  const login = (userId) => storage.save(IDENTITY, { ...identity(), userId: String(userId) });

  /** From now on this is somebody else's browser. */
  function renew() {
    storage.save(IDENTITY, { anonymousId: makeId(), userId: null });
    storage.save(SESSION, null);
  }

  return { identity, sessionId, login, renew };
}
