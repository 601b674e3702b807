/** Ids that nobody else makes. */

/**
 * A random UUID (version 4), without `crypto.randomUUID`, which is missing on plain-http pages: a 1 or 0 of the pattern is
 * any digit, the 8 one of 8 to b.
 */
export const makeId = () =>
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16),
  );
