/**
 * What outlives the page: small values in localStorage, read once and then kept in memory.
 *
 * Another tab's writes are noticed by the browser's "storage" event. Storage may be blocked or full, or the visitor may
 * not have agreed to it: then the values last as long as the page.
 */

export const PREFIX = "freshet.";
export const IDENTITY = PREFIX + "identity";
export const SESSION = PREFIX + "session";
export const CONSENT = PREFIX + "consent";

/** `mayStore()`: whether the visitor agreed. The decision itself (no id) is kept in any case. */
export function createStorage(mayStore) {
  let store = {};
  let values = {};
  try {
    store = localStorage ?? store;
  } catch {
    // blocked
  }
  const allowed = (key) => key === CONSENT || mayStore();
  const keysOf = (prefix) => Object.keys(store).filter((key) => key.startsWith(prefix));

  /** Whether there was room. */
  function write(key, text) {
    try {
      store[key] = text;
      return true;
    } catch {
      return false;
    }
  }

  function load(key) {
    if (!(key in values) && allowed(key)) {
      try {
        values[key] = JSON.parse(store[key]);
      } catch {
        // nothing, or nothing of ours
      }
    }
    return values[key];
  }

  function save(key, value) {
    values[key] = value;
    if (allowed(key)) write(key, JSON.stringify(value));
  }

  /** Another tab wrote: the value is read again when it is needed. */
  const forget = (key) => delete values[key];

  /** From now on the visitor agrees: what memory holds is stored, where no earlier visit has left its own. */
  function persist() {
    for (const key in values) store[key] ? forget(key) : save(key, values[key]);
  }

  /** Removes everything but the decision. */
  function erase() {
    values = { [CONSENT]: values[CONSENT] };
    for (const key of keysOf(PREFIX)) if (key !== CONSENT) delete store[key];
  }

  return { store, write, keysOf, load, save, forget, persist, erase };
}
