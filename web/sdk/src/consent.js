/**
 * What the visitor agreed to: analytics (to be counted) and personalization (to be remembered).
 *
 *   Global Privacy Control  >  the visitor's decision  >  Do Not Track  >  the site's default
 *
 * which is the collector's order too. Inside, an agreement is two bits; `null` is one that nobody has made yet.
 */

import { CONSENT } from "./storage.js";

const ANALYTICS = 1;
const PERSONALIZATION = 2;
const DEFAULTS = { granted: ANALYTICS | PERSONALIZATION, denied: 0 }; // any other word: pending

export const asObject = (bits) => ({ analytics: !!(bits & ANALYTICS), personalization: !!(bits & PERSONALIZATION) });
export const mayPersonalize = (bits) => !!(bits & PERSONALIZATION);

/** `read()`: the stored decision, {analytics, personalization}, or nothing. */
export function createConsent(settings, read, save) {
  const { navigator: browser } = globalThis;
  const honoured = settings.respectSignals;

  /** The visitor's decision, or null. */
  function decided() {
    const decision = read(CONSENT);
    return decision ? (decision.analytics && ANALYTICS) | (decision.personalization && PERSONALIZATION) : null;
  }

  /** What holds now, or null while it is pending. */
  function current() {
    if (honoured && browser.globalPrivacyControl) return 0;
    return decided() ?? (honoured && browser.doNotTrack === "1" ? 0 : DEFAULTS[settings.consent] ?? null);
  }

  /** Takes the visitor's decision; what it does not name stays. */
  function decide(decision) {
    save(CONSENT, { ...asObject(current()), ...decision });
  }

  return { decided, current, decide };
}
