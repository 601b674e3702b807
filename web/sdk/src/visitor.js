/** Who it is and which visit: ids without cookies. */

import { now } from "./clock.js";
import { makeId } from "./ids.js";
import { IDENTITY, SESSION } from "./storage.js";

const TOUCH_MS = 1000; // the time of the last event is written this often at most

export function createVisitor(settings, { load, save }) {
  let writtenMs = 0;

  /** The ids as an event carries them; made at the first look, the session's anew after `sessionIdleMs` without one. */
  function whom() {
    const atMs = now();
    let visit = load(SESSION);
    if (!visit || atMs - visit.lastMs > settings.sessionIdleMs) {
      visit = { id: makeId() };
      writtenMs = 0;
    }
    visit.lastMs = atMs; // in memory; other tabs learn of it with the next write
    if (atMs - writtenMs > TOUCH_MS) save(SESSION, visit, (writtenMs = atMs));
    if (!load(IDENTITY)?.anonymousId) renew();
    const { anonymousId, userId } = load(IDENTITY);
    return { user_id: userId ?? undefined, anonymous_id: anonymousId, session_id: visit.id };
  }

  /** From now on this is that account's browser, or without any somebody else's. */
  const renew = (userId, anonymousId = makeId()) => save(IDENTITY, { anonymousId, userId });

  return { whom, renew };
}
