/** Keeps the rows of a page in step with what the visitor does: asked anew after each event, never a stale answer. */

const ANSWER_PATIENCE_MS = 150; // a silent collector does not hold the page up
const SHELF = 12;
const MAX_EXCLUDED = 1000; // as many as the API takes
const PASSIVE = ["impression", "page_view", "scroll", "dwell"];

export class Recommender {
  /** The slate of the first row that has one also goes to the banner and to `onSlate`. */
  constructor({ shop, freshness, banner, onSlate = () => {} }) {
    Object.assign(this, { shop, freshness, banner, onSlate });
    this.rows = [];
    this.asked = 0;
    this.waiting = null;
    shop.freshet.on("tracked", ({ event }) => this.onTracked(event));
    shop.freshet.on("answered", () => this.waiting && this.refresh());
  }

  onTracked(event) {
    if (PASSIVE.includes(event)) return;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.refresh(), ANSWER_PATIENCE_MS);
  }

  /** The rows of another page; `productId` is the one it is about. */
  place({ rows, productId }) {
    this.rows = rows;
    this.productId = productId;
    for (const row of rows) row.leaveOut([productId, ...this.shop.decided()]);
  }

  /**
   * Asks for one row after the other, so that each leaves out what those above it show; stops when a newer question
   * has been asked meanwhile.
   */
  async refresh() {
    clearTimeout(this.waiting);
    this.waiting = null;
    const turn = (this.asked += 1);
    const { rows } = this;
    const exclude = [...(this.productId ? [this.productId] : []), ...this.shop.decided()];
    let lead = null;
    for (const row of rows) {
      const answer = await row.ask(exclude.slice(0, MAX_EXCLUDED));
      if (turn !== this.asked) return;
      const slate = answer ?? this.standIn(row);
      if (!lead && slate) this.banner.show(slate, [this.productId, ...this.shop.bought.ids]);
      if (!lead && slate && row.entriesOf(slate, exclude).length) {
        lead = row;
        this.showLead(row, slate, exclude);
        exclude.push(...this.banner.itemIds);
      } else if (slate) row.show(slate, exclude);
      else row.settle();
      exclude.push(...row.ids);
      rows.slice(rows.indexOf(row) + 1).forEach((later) => later.leaveOut(exclude));
    }
  }

  /** Without an API a page has one row, from the shelves, unless it still shows the last answer. */
  standIn(row) {
    return row === this.rows[0] && !row.ids.length ? shelfSlate(this.shop.catalog) : null;
  }

  showLead(row, slate, exclude) {
    this.slate = { ...slate, placement: row.spec.placement, shownAtMs: performance.now() };
    for (const { element } of this.rows) element.classList.toggle("picks", element === row.element);
    const changed = row.show(slate, [...exclude, ...this.banner.itemIds]);
    this.freshness.shown(slate, changed);
    this.onSlate(this.slate);
  }
}

/** Items that the shop puts out by itself when there is no API, and says so. */
export function shelfSlate(catalog) {
  const step = Math.max(1, Math.floor(catalog.items.length / SHELF));
  const items = catalog.items.filter((_, index) => index % step === 0).slice(0, SHELF);
  return {
    request_id: null,
    served_by: "store",
    variant: "shelf",
    ranked_feed: items.map((item, position) => ({ id: item.item_id, position })),
    personalized_banner: { id: "shelf", headline: "Good things, well chosen", text: "Start anywhere; the store will follow.", category: "" },
  };
}
