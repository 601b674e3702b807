/** The catalog in memory: look-ups, category tree and search. */

const money = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });

/** "$1,234.50" for a price, nothing for an unknown one. */
export const price = (item) => (item.price > 0 ? money.format(item.price) : "");
export const amount = (value) => money.format(value);

/** "home.living_room" -> "Living room"; categories that are only numbers keep them. */
export function label(category) {
  const last = (category ?? "").split(".").pop().replace(/[_-]+/g, " ").trim();
  return last ? last[0].toUpperCase() + last.slice(1) : "Everything else";
}

/** The title without the brand that it begins with, since the brand has its own line. */
export function nameOf({ title, brand, category }) {
  const name = title || label(category);
  const begins = brand && name.toLowerCase().startsWith(`${brand.toLowerCase()} `);
  return begins ? name.slice(brand.length + 1) : name;
}

/** "1 item", "252 items". */
export const counted = (count, noun = "item") => `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;

export class Catalog {
  constructor(items) {
    this.items = items;
    this.byId = new Map(items.map((item) => [item.item_id, item]));
    this.tree = countCategories(items);
  }

  /** The item, or one that has at least a name when the API knows an item that the catalog does not. */
  item(id) {
    return this.byId.get(id) ?? { item_id: id, title: `Item ${id}`, category: "", brand: "" };
  }

  /** The product page's own: {description, attributes}; both empty when they cannot be had. */
  async details(id) {
    const response = await fetch(`/details/${encodeURIComponent(id)}`).catch(() => null);
    return response?.ok ? response.json() : { description: "", attributes: {} };
  }

  /** Top-level categories, the fullest first: [{path, count}]. */
  top() {
    return this.children("");
  }

  /** The categories right below `path`, the fullest first. */
  children(path) {
    const depth = path ? path.split(".").length + 1 : 1;
    return [...this.tree]
      .filter(([name]) => name.split(".").length === depth && (!path || name.startsWith(`${path}.`)))
      .map(([name, count]) => ({ path: name, count }))
      .sort((a, b) => b.count - a.count || a.path.localeCompare(b.path));
  }

  /** Items in the category or below it, in catalog order. */
  within(path) {
    return this.items.filter((item) => item.category === path || item.category?.startsWith(`${path}.`));
  }

  /** A few items to stand for a category on its tile: one of each kind below it. */
  faces(path, count) {
    const kinds = this.children(path).map((child) => this.within(child.path)[0]);
    return [...kinds, ...this.within(path)].filter((item, at, all) => item && all.indexOf(item) === at).slice(0, count);
  }

  /** Items with every word of the query in title, brand or category; those with it in the title first. */
  search(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    const scored = this.items.map((item) => ({ item, score: matchScore(item, words) }));
    return scored.filter(({ score }) => score > 0).sort((a, b) => b.score - a.score).map(({ item }) => item);
  }
}

function countCategories(items) {
  const counts = new Map();
  for (const { category } of items) {
    const parts = (category || "other").split(".");
    parts.forEach((_, depth) => {
      const path = parts.slice(0, depth + 1).join(".");
      counts.set(path, (counts.get(path) ?? 0) + 1);
    });
  }
  return counts;
}

function matchScore(item, words) {
  const title = (item.title ?? "").toLowerCase();
  const rest = `${item.brand ?? ""} ${item.category ?? ""}`.toLowerCase();
  let score = 0;
  for (const word of words) {
    const stem = word.length > 3 ? word.replace(/s$/, "") : word;
    if (title.includes(stem)) score += title.split(/\W+/).some((part) => part.startsWith(stem)) ? 3 : 2;
    else if (rest.includes(stem)) score += 1;
    else return 0;
  }
  return score;
}

export async function loadCatalog() {
  const response = await fetch("/catalog.json");
  if (!response.ok) throw new Error("The catalog is not loaded yet. Load one (make catalog), then reload this page.");
  return new Catalog((await response.json()).items);
}
