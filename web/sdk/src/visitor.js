/** Who it is and which visit: ids without cookies. */

import { now } from "./clock.js";
import { makeId } from "./ids.js";
import { IDENTITY, SESSION } from "./storage.js";

const TOUCH_MS = 1000; // the time of the last event is written this often at most

/** Gives `core` its `whom` and `renew`. */
export function addVisitor(core) {
  let writtenMs = 0;

  /** The ids as an event carries them; made at the first look, the session's anew after `sessionIdleMs` without one. */
  core.whom = () => {
    const atMs = now();
    let visit = core.recall(SESSION);
    if (!visit || atMs - visit.lastMs > core.sessionIdleMs) {
      visit = { id: makeId() };
      writtenMs = 0;
    }
    visit.lastMs = atMs; // in memory; other tabs learn of it with the next write
    if (atMs - writtenMs > TOUCH_MS) core.remember(SESSION, visit, (writtenMs = atMs));
    if (!core.recall(IDENTITY)) core.renew();
    const { userId: user_id, anonymousId: anonymous_id, token: user_token } = core.recall(IDENTITY);
    return { user_id, anonymous_id, user_token, session_id: visit.id };
  };

  /** From now on this is that account's browser, or without any somebody else's. */
  core.renew = (userId, anonymousId = makeId(), token) => core.remember(IDENTITY, { userId, anonymousId, token });
}
