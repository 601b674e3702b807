/** Further questions to the API: the rows of a page, a list in the visitor's order, items like one, search suggestions. */

import { asObject, mayPersonalize } from "./consent.js";
import { PARTS } from "./parts.js";
import { addressOf, post } from "./requests.js";

/** Gives the client the methods that `freshet.recommend.js` has beside those of `freshet.js`. */
function addQuestions(core, methods) {
  /** What an impression or a click of an item has to say, of the answer that it stands in. */
  const fieldsOf = ({ request_id, variant, experiments }, placement, { id: product_id, position, propensity }) => ({
    request_id,
    variant,
    experiments,
    placement,
    product_id,
    position,
    propensity,
  });

  /**
   * The rows of a page, without repeats between them. `rows`: each {placement, k, product_ids}; `question` as of `recommend`,
   * for all of them. Each entry of a row's `ranked_feed` carries `fields`.
   */
  methods.recommendRows = async (rows, question) => {
    const answer = await core.ask("/v1/pages", { ...question, rows });
    for (const { row, ranked_feed } of answer.rows)
      for (const entry of ranked_feed) entry.fields = fieldsOf(answer, rows[row].placement, entry);
    return answer;
  };

  /** The ids of a list in the order for the visitor, `ranked`, and as a `ranked_feed` whose entries carry `fields`. */
  methods.rank = async (items, { placement = "home", ...question } = {}) => {
    const answer = await core.ask("/v1/rank", { placement, ...question, items });
    answer.ranked_feed = answer.ranked.map((id, position) => {
      const entry = { id, position };
      return { ...entry, fields: fieldsOf(answer, placement, entry) };
    });
    return answer;
  };

  /** The visitor's variants of all experiments, each as `experiment=variant`. */
  methods.assign = async (question) => (await core.ask("/v1/experiments/assign", question)).experiments;

  /** Items like one, the same for everybody: a GET without ids of the visitor, which caches may keep. */
  methods.similar = async (productId, n) => {
    const query = n ? `?n=${n}` : "";
    const address = `${addressOf(core.api)}/v1/items/${encodeURIComponent(productId)}/similar${query}`;
    return contentOf(await fetch(address, { credentials: "omit", signal: AbortSignal.timeout?.(core.requestTimeoutMs) }));
  };

  /** How the text in a search box may go on, at most `n` suggestions; of the visitor only with an agreement. */
  methods.suggest = async (q, n) => {
    const bits = core.agreed();
    const visitor = mayPersonalize(bits) ? core.whom() : { consent: asObject(+bits) };
    const question = JSON.stringify({ q, n, ...visitor });
    return contentOf(await post(core, addressOf(core.api) + "/v1/search/suggest", question));
  };
}

/** What a response holds. */
function contentOf(response) {
  if (!response.ok) throw new Error(`answered ${response.status}`);
  return response.json();
}

PARTS.push(addQuestions);
