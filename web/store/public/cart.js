/** What the visitor wants to buy: item ids and quantities, kept in the browser. */

const KEY = "freshet.store.cart";

export class Cart {
  constructor(changed = () => {}) {
    this.changed = changed;
    this.lines = new Map();
    try {
      this.lines = new Map(JSON.parse(localStorage.getItem(KEY)) ?? []);
    } catch {
      /* an empty cart */
    }
  }

  get count() {
    return [...this.lines.values()].reduce((sum, quantity) => sum + quantity, 0);
  }

  quantity(itemId) {
    return this.lines.get(itemId) ?? 0;
  }

  /** Sets a line; zero or less takes it out. */
  set(itemId, quantity) {
    if (quantity > 0) this.lines.set(itemId, quantity);
    else this.lines.delete(itemId);
    try {
      localStorage.setItem(KEY, JSON.stringify([...this.lines]));
    } catch {
      /* kept in memory */
    }
    this.changed(this);
  }

  clear() {
    for (const itemId of [...this.lines.keys()]) this.set(itemId, 0);
  }
}
