/**
 * What the visitor agreed to: analytics (to be counted) and personalization (to be remembered).
 *
 *   Global Privacy Control  >  the visitor's decision  >  Do Not Track  >  the site's default
 *
 * which is the collector's order too. Inside, an agreement is two bits; `null` is one that nobody has made yet.
 */

import { CONSENT } from "./storage.js";

const DEFAULTS = { granted: 3, denied: 0 }; // any other word: pending

export const asObject = (bits) => ({ analytics: !!(bits & 1), personalization: mayPersonalize(bits) });
export const mayPersonalize = (bits) => bits > 1;

export function createConsent(settings, storage) {
  const signal = (name) => settings.respectSignals && navigator[name] == 1; // eslint-disable-line eqeqeq -- "1" or true

  /** The visitor's decision, or null. */
  function decided() {
    const decision = storage.load(CONSENT);
    return decision ? !!decision.analytics + 2 * !!decision.personalization : null;
  }

  /** What holds now, or null while it is pending. */
  const current = () =>
    signal("globalPrivacyControl") ? 0 : decided() ?? (signal("doNotTrack") ? 0 : DEFAULTS[settings.consent] ?? null);

  return { decided, current };
}
