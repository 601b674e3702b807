/** What people do in a shop, in the words of the contract. */

/** Gives `core` its `view`, `addToCart`, `removeFromCart`, `search` and `purchase`. */
export function addShop(core, methods) {
  /** Of an item's fields, or only its id. */
  const about = (name) => (item, fields) => core.track(name, { ...(typeof item === "object" ? item : { product_id: item }), ...fields });

  methods.view = about("view_product");
  methods.addToCart = about("add_to_cart");
  methods.removeFromCart = about("remove_from_cart");
  methods.search = (query, fields) => core.track("search", { query, ...fields });

  /**
   * One purchase event for each of the order's `lines`; its other fields go with each of them. With an `order_id` the
   * events' ids follow from it, the product and which of the product's lines it is, so that a thank-you page that is
   * opened again buys nothing twice, whatever the order of its lines.
   */
  methods.purchase = ({ lines, ...order }) => {
    const told = {};
    return lines.map((line) => {
      const id = [order.order_id, line.product_id];
      return core.track("purchase", { ...order, ...line }, id[0] ? [...id, (told[id] ??= []).push(0)].join("#") : undefined);
    });
  };
}
