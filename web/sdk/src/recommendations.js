/** Questions to the API: what to show next, and what it knows. */

import { asObject, mayPersonalize } from "./consent.js";
import { addressOf, post } from "./requests.js";

/** Gives `core` its `ask`, `recommend` and `profile`. */
export function addRecommendations(core, methods) {
  /** By POST: ids stay out of addresses and logs. */
  async function answerTo(path, question) {
    const response = await post(core, addressOf(core.api) + path, JSON.stringify(question));
    if (!response.ok) throw new Error(`answered ${response.status}`);
    return response.json();
  }

  /**
   * The API's answer for a placement, or null when there is none. Each entry of `ranked_feed`, and the banner, carries `fields`,
   * what an impression or a click of it has to say; `client` is {asked_ms, answered_ms, included}, with the ids of the pending
   * events that were sent along. Without an agreement to personalization no id and no event is sent, and what is
   * popular comes back. What else the API's contract knows is passed on by its own name, as k, exclude, filter, cursor.
   */
  core.ask = async (path, { placement = "home", productId, variant, ...others } = {}) => {
    const bits = core.agreed();
    const events = mayPersonalize(bits) ? core.pending() : [];
    const asked_ms = performance.now();
    const answer = await answerTo(path, {
      ...others,
      ...(mayPersonalize(bits) ? core.whom() : { consent: asObject(+bits) }),
      placement,
      product_id: productId,
      variant,
      events,
      sent_at: new Date(), // by which the API repairs a wrong clock
    });
    const { request_id, variant: chosen, experiments, personalized_banner: banner } = answer;
    const tell = (entry, fields) => (entry.fields = { request_id, variant: chosen, experiments, placement, ...fields });
    answer.ranked_feed?.forEach((entry) => {
      const { id: product_id, position, propensity } = entry;
      tell(entry, { product_id, position, propensity });
    });
    if (banner) tell(banner, { product_id: banner.product_id, placement: "banner", position: 0, banner_id: banner.id });
    answer.client = { asked_ms, answered_ms: performance.now(), included: events.map((event) => event.event_id) };
    return answer;
  };

  methods.recommend = (question) => core.ask("/v1/recommendations", question);

  /**
   * The visitor's stored profile, or null, also where the API does not show profiles (FRESHET_PROFILE_VIEW) and where
   * the visitor has not agreed to one. With an `event_id` and that event's name (`event`) and `product_id`,
   * `contains_event` says whether the event is in.
   */
  methods.profile = async (event) => {
    if (!mayPersonalize(core.agreed())) return null;
    const answer = await answerTo("/v1/profile", { ...event, ...core.whom() });
    if (answer.contains_event) core.settle(event.event_id);
    return answer;
  };
}
