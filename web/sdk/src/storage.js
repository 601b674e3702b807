/**
 * What outlives the page: small values in localStorage, read once and then kept in memory.
 *
 * Another tab's writes are noticed by the browser's "storage" event. Storage may be blocked or full, or the visitor may
 * not have agreed to it: then the values last as long as the page.
 */

export const PREFIX = "freshet.";
export const IDENTITY = "freshet.identity";
export const SESSION = "freshet.session";
export const CONSENT = "freshet.consent";

/** Gives `core` its `shelf`, `writeDown`, `keysOf`, `recall`, `remember`, `reread`, `keepValues` and `erase`. */
export function addStorage(core) {
  let values = {};

  /** What `action` makes of the storage; nothing where it is blocked, full, or holds nothing of ours. */
  function attempt(action) {
    try {
      return action();
    } catch {
      return undefined;
    }
  }

  const shelf = (core.shelf = attempt(() => localStorage) ?? {});

  /** The decision itself (no id) is kept in any case, all else when the visitor agreed. */
  const allowed = (key) => key === CONSENT || core.agreed();

  core.keysOf = (prefix) => Object.keys(shelf).filter((key) => key.startsWith(prefix));

  /** Whether there was room. */
  core.writeDown = (key, text) => attempt(() => (shelf[key] = text));

  core.recall = (key) => {
    if (!(key in values) && allowed(key)) values[key] = attempt(() => JSON.parse(shelf[key]));
    return values[key];
  };

  core.remember = (key, value) => {
    values[key] = value;
    if (allowed(key)) core.writeDown(key, JSON.stringify(value));
  };

  /** Another tab wrote: the value is read again when it is needed. */
  core.reread = (key) => delete values[key];

  /** From now on the visitor agrees: what memory holds is stored, where no earlier visit has left its own. */
  core.keepValues = () => {
    for (const key in values) shelf[key] ? core.reread(key) : core.remember(key, values[key]);
  };

  /** Removes everything but the decision. */
  core.erase = () => {
    values = { [CONSENT]: values[CONSENT] };
    for (const key of core.keysOf(PREFIX)) if (key !== CONSENT) delete shelf[key];
  };
}
