/** Ids that nobody else makes. */

/** A random UUID (version 4), also where `crypto.randomUUID` is missing (plain-http pages, older browsers). */
export function makeId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const random = crypto.getRandomValues(new Uint8Array(36));
  return "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx".replace(/[xy]/g, (kind, at) =>
    (kind === "x" ? random[at] & 15 : (random[at] & 3) | 8).toString(16),
  );
}
