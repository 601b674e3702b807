/** Keeps what is recommended in step with what the visitor does: one question after each event, never a stale answer. */

const K = 12;
const ANSWER_PATIENCE_MS = 150; // a silent collector does not hold the page up

export class Recommender {
  /** `views` are shown every slate; each has show(slate) -> changed. */
  constructor({ shop, freshness, views, onSlate = () => {} }) {
    Object.assign(this, { shop, freshness, views, onSlate });
    this.place = { placement: "home" };
    this.asked = 0;
    this.waiting = null;
    shop.freshet.on("tracked", ({ event }) => this.onTracked(event));
    shop.freshet.on("answered", () => this.waiting && this.refresh());
  }

  onTracked(event) {
    if (["impression", "page_view", "scroll", "dwell"].includes(event)) return;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.refresh(), ANSWER_PATIENCE_MS);
  }

  /** Asks for the place's slate and shows it, unless a newer question has been asked meanwhile. */
  async refresh() {
    clearTimeout(this.waiting);
    this.waiting = null;
    const turn = (this.asked += 1);
    const { placement, productId } = this.place;
    const exclude = productId ? [productId] : undefined;
    const slate = await this.shop.freshet.recommend({ placement, productId, k: K, exclude });
    if (turn !== this.asked) return;
    if (slate) this.show(slate);
    else if (!this.slate) this.show(shelfSlate(this.shop.catalog));
  }

  show(slate) {
    this.slate = { ...slate, placement: this.place.placement, shownAtMs: performance.now() };
    const [changed] = this.views.map((view) => view.show(slate));
    this.freshness.shown(slate, changed);
    this.onSlate(this.slate);
  }
}

/** What the shop puts out by itself when there is no API: something, and honest about it. */
export function shelfSlate(catalog, k = K) {
  const step = Math.max(1, Math.floor(catalog.items.length / k));
  const items = catalog.items.filter((_, index) => index % step === 0).slice(0, k);
  return {
    request_id: null,
    served_by: "store",
    variant: "shelf",
    ranked_feed: items.map((item, position) => ({ id: item.item_id, position })),
    personalized_banner: { id: "shelf", headline: "Good things, well chosen", text: "Start anywhere; the store will follow.", category: "", product_id: items[0]?.item_id },
  };
}
