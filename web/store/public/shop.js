/** The shop's one object: catalog, cart, the SDK, and what is said to the collector about an item. */

import { Cart } from "./cart.js";
import { Catalog } from "./catalog.js";
import { announce } from "./dom.js";
import { IdList } from "./id_list.js";

const BOUGHT = 200;

export class Shop {
  /** @param {{catalog: Catalog, freshet: object}} parts */
  constructor({ catalog, freshet }) {
    this.catalog = catalog;
    this.freshet = freshet;
    this.cart = new Cart(() => this.cartChanged());
    this.bought = new IdList("freshet.store.bought", BOUGHT);
    this.origins = new Map(); // item id -> the slate position it was clicked at, so that later events name it
    this.cartChanged = () => {};
  }

  /** Ids that no row offers: what was bought, and what is about to be. */
  decided() {
    return [...this.bought.ids, ...this.cart.lines.keys()];
  }

  /** The visitor starts over: nothing is remembered of the one before. */
  forget() {
    this.freshet.reset();
    this.cart.clear();
    this.bought.clear();
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

  added(item, { origin, quantity = 1 } = {}) {
    if (origin?.request_id) this.origins.set(item.item_id, origin);
    this.cart.set(item.item_id, this.cart.quantity(item.item_id) + quantity);
    this.freshet.track("add_to_cart", { ...this.facts(item), quantity, ...this.origins.get(item.item_id) });
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
      this.bought.add(item.item_id);
    }
    this.cart.clear();
    return lines;
  }
}
