/** The shop's one object: catalog, cart, the SDK, and what is said to the collector about an item. */

import { Cart } from "./cart.js";
import { Catalog } from "./catalog.js";
import { announce } from "./dom.js";

export class Shop {
  /** @param {{catalog: Catalog, freshet: object}} parts */
  constructor({ catalog, freshet }) {
    this.catalog = catalog;
    this.freshet = freshet;
    this.cart = new Cart(() => this.cartChanged());
    this.origins = new Map(); // item id -> the slate position it was clicked at, so that later events name it
    this.cartChanged = () => {};
  }

  facts(item) {
    const { category, brand, price } = item;
    return { product_id: item.item_id, category: category || null, brand: brand || null, price };
  }

  /** A click on an item; `origin` holds request_id, placement, variant, position, or only a placement. */
  clicked(item, origin = {}) {
    if (origin.request_id) this.origins.set(item.item_id, origin);
    this.freshet.track("click", { ...this.facts(item), ...origin });
  }

  viewed(item) {
    this.freshet.track("view_product", { ...this.facts(item), title: item.title, ...this.origins.get(item.item_id) });
  }

  added(item, origin) {
    if (origin?.request_id) this.origins.set(item.item_id, origin);
    this.cart.set(item.item_id, this.cart.quantity(item.item_id) + 1);
    this.freshet.track("add_to_cart", { ...this.facts(item), quantity: 1, ...this.origins.get(item.item_id) });
    announce(`${item.title} is in your cart`);
  }

  changedQuantity(item, quantity) {
    const before = this.cart.quantity(item.item_id);
    this.cart.set(item.item_id, quantity);
    const name = quantity > before ? "add_to_cart" : "remove_from_cart";
    this.freshet.track(name, { ...this.facts(item), quantity: Math.abs(quantity - before) });
  }

  /** One purchase event for each line; returns the lines that were bought. */
  checkedOut() {
    const lines = [...this.cart.lines].map(([id, quantity]) => ({ item: this.catalog.item(id), quantity }));
    for (const { item, quantity } of lines) {
      this.freshet.track("purchase", { ...this.facts(item), quantity, ...this.origins.get(item.item_id) });
    }
    this.cart.clear();
    return lines;
  }
}
