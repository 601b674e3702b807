/** What people do in a shop, in the words of the contract. */

/** Each takes the fields of an event, or only a product id, and returns the event's id. */
export function createShop({ track }) {
  const about = (name) => (item, fields) => track(name, { ...(typeof item === "object" ? item : { product_id: item }), ...fields });

  return {
    view: about("view_product"),
    addToCart: about("add_to_cart"),
    removeFromCart: about("remove_from_cart"),
    search: (query, fields) => track("search", { query, ...fields }),

    /**
     * One purchase event for each of the order's `lines`; its other fields go with each of them. With an `order_id` the
     * events' ids follow from it, so that a thank-you page that is opened again buys nothing twice.
     */
    purchase: ({ lines, ...order }) =>
      lines.map((line, index) =>
        track("purchase", { ...order, ...line }, order.order_id && [order.order_id, index, line.product_id].join("#")),
      ),
  };
}
