/**
 * What outlives the page: small values in localStorage, read once and then kept in memory.
 *
 * Another tab's writes are noticed by the browser's "storage" event. Storage may be blocked or full, or the visitor may
 * not have agreed to it: then the values last as long as the page.
 */

export const IDENTITY = "freshet.identity";
export const SESSION = "freshet.session";
export const CONSENT = "freshet.consent";

/** `mayStore()`: whether the visitor agreed. The decision itself (no id) is kept in any case. */
export function createStorage(mayStore) {
  const values = {};
  const attempt = (action) => {
    try {
      return action(localStorage);
    } catch {
      return undefined; // blocked or full
    }
  };
  const allowed = (key) => key === CONSENT || mayStore();

  /** The text under a key, or nothing. */
  const read = (key) => attempt((store) => store.getItem(key));

  /** Whether the text could be written. */
  const write = (key, text) => attempt((store) => (store.setItem(key, text), true));

  const remove = (key) => attempt((store) => store.removeItem(key));

  /** All keys that begin so. */
  const keys = (prefix) => attempt((store) => Object.keys(store).filter((key) => key.startsWith(prefix))) ?? [];

  function load(key) {
    if (!(key in values) && allowed(key)) values[key] = attempt((store) => JSON.parse(store.getItem(key)));
    return values[key];
  }

  function save(key, value) {
    values[key] = value;
    if (allowed(key)) write(key, JSON.stringify(value));
  }

  /** Forgets what memory holds of a key, or of all; it is read again when needed. */
  function forget(key) {
    for (const known in values) if (!key || known === key) delete values[known];
  }

  /** Removes everything but the decision. */
  function erase() {
    forget(IDENTITY);
    forget(SESSION);
    for (const key of keys("freshet.")) if (key !== CONSENT) remove(key);
  }

  return { read, write, remove, keys, load, save, forget, erase };
}
