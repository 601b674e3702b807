/** Questions to the API: what to show next, and what it knows. */

import { asObject, mayPersonalize } from "./consent.js";

/** `pending()`: the events that the stored profile may not hold yet. */
export function createRecommendations(settings, { guarded }, visitor, consent, pending) {
  async function ask(path, question) {
    const { anonymousId, userId } = visitor.identity();
    const body = { ...question, sent_at: new Date().toISOString() }; // by which the API repairs a wrong clock
    if (mayPersonalize(consent.current())) Object.assign(body, { user_id: userId ?? undefined, anonymous_id: anonymousId });
    const signal = AbortSignal.timeout?.(settings.requestTimeoutMs);
    // Ids stay out of addresses and logs; text/plain goes without a preflight.
    const request = { method: "POST", body: JSON.stringify(body), credentials: "omit", signal };
    const response = await fetch(settings.api + path, request);
    if (!response.ok) throw new Error(`API answered ${response.status}`);
    return response.json();
  }

  /**
   * The API's answer for a placement, or null when there is none. Each entry of `ranked_feed` carries `fields`, what an
   * impression or a click of it has to say; `client` is {asked_ms, answered_ms, included}, with the ids of the pending
   * events that were sent along. Without an agreement to personalization no id and no event is sent, and what is
   * popular comes back.
   */
  async function recommend({ placement = "home", k = 20, productId, variant, exclude } = {}) {
    const bits = consent.current();
    const personal = mayPersonalize(bits);
    const entries = personal ? pending() : [];
    const asked_ms = performance.now();
    const answer = await ask("/v1/recommendations", {
      session_id: personal ? visitor.sessionId() : undefined,
      placement,
      product_id: productId ?? undefined,
      k,
      variant: personal ? variant : "popular",
      exclude,
      consent: personal && consent.decided() == null ? undefined : asObject(bits),
      events: entries.map(({ json }) => JSON.parse(json)),
    });
    const { request_id, variant: chosen } = answer;
    for (const entry of answer.ranked_feed ?? []) {
      const { id, position, propensity } = entry;
      entry.fields = { product_id: id, request_id, placement, variant: chosen, position, propensity };
    }
    return { ...answer, client: { asked_ms, answered_ms: performance.now(), included: entries.map(({ id }) => id) } };
  }

  /**
   * The visitor's stored profile, or null, also where the API does not show profiles (FRESHET_PROFILE_VIEW) and where
   * the visitor has not agreed to one. With `eventId`, `contains_event` says whether that event is in.
   */
  async function profile({ eventId } = {}) {
    return mayPersonalize(consent.current()) ? ask("/v1/profile", { event_id: eventId }) : null;
  }

  return { recommend, profile };
}
