/** What people do in a shop, in the words of the contract. */

/** Gives `core` its `view`, `addToCart`, `removeFromCart`, `search` and `purchase`. */
export function addShop(core) {
  /** Of an item's fields, or only its id. */
  const about = (name) => (item, fields) => core.track(name, { ...(typeof item === "object" ? item : { product_id: item }), ...fields });

  core.view = about("view_product");
  core.addToCart = about("add_to_cart");
  core.removeFromCart = about("remove_from_cart");
  core.search = (query, fields) => core.track("search", { query, ...fields });

  /**
   * One purchase event for each of the order's `lines`; its other fields go with each of them. With an `order_id` the
   * events' ids follow from it, so that a thank-you page that is opened again buys nothing twice.
   */
  core.purchase = ({ lines, ...order }) =>
    lines.map((line, index) =>
      core.track("purchase", { ...order, ...line }, order.order_id && [order.order_id, index, line.product_id].join("#")),
    );
}
