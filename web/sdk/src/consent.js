/**
 * What the visitor agreed to: analytics (to be counted) and personalization (to be remembered).
 *
 *   Global Privacy Control  >  the visitor's decision  >  Do Not Track  >  the site's default
 *
 * which is the collector's order too. Inside, an agreement is two bits; `null` is one that nobody has made yet.
 */

import { CONSENT } from "./storage.js";

const DEFAULTS = { granted: 3, denied: 0 }; // of the option `consent`; any other word: pending

export const asObject = (bits) =>
  bits == null ? bits : { analytics: bits % 2 > 0, personalization: mayPersonalize(bits) };

/** Only a clear yes is one: Tag Manager's variables are texts, and "false" and "denied" are no yes. */
const isGrant = (word) => /^(true|granted)$/.test(word);

export const mayPersonalize = (bits) => bits > 1;

/** Gives `core` its `decided`, `agreed`, `follow` and `consent`. */
export function addConsent(core, methods) {
  const signal = (name) => core.respectSignals && navigator[name] == 1; // "1" or true

  /** The visitor's decision, or null. */
  core.decided = () => {
    const decision = core.recall(CONSENT);
    return decision && isGrant(decision.analytics) + 2 * isGrant(decision.personalization);
  };

  /** What holds now, or null while it is pending. */
  core.agreed = () =>
    signal("globalPrivacyControl") ? 0 : core.decided() ?? (signal("doNotTrack") ? 0 : DEFAULTS[core.consent]);

  /** Takes the visitor's decision, {analytics, personalization}; returns what holds, or null while it is pending. */
  methods.consent = (decision) => {
    const before = core.agreed();
    if (decision) {
      core.remember(CONSENT, { ...asObject(before), ...decision });
      core.follow(before);
    }
    return asObject(core.agreed() ?? null);
  };

  /** Follows a decision, which may be another tab's; `before` is what held until then. */
  core.follow = (before) => {
    if (core.agreed()) {
      if (!before) core.keepValues();
      core.flush();
    } else {
      core.discard();
      core.settle();
      core.erase();
    }
    core.emit("consent", asObject(core.agreed()));
  };
}
