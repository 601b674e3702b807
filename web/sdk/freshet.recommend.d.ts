/** `freshet.d.ts`, and the methods that the build `freshet.recommend.js` has beside. */

import type { Answer, Entry, Freshet, GlobalFreshet, Options, Question } from "./freshet.js";

export * from "./freshet.js";

/** A row of a page that is asked for. */
export interface RowQuestion {
  placement: string;
  /** How many items, at most 100. Default: the placement's own. */
  k?: number;
  /** The items that the row is about, in place of the page's. */
  product_ids?: string[];
}

/** A row that was answered. */
export interface Row {
  /** Its place among the rows that were asked for. */
  row: number;
  placement: string;
  title?: string;
  recommendations: string[];
  ranked_feed: Entry[];
  served_by: string;
  [name: string]: unknown;
}

export interface RowsAnswer extends Pick<Answer, "request_id" | "variant" | "experiments" | "client"> {
  /** Those with the likeliest clicks first; none is empty, and no item stands twice. */
  rows: Row[];
  [name: string]: unknown;
}

export interface RankQuestion extends Pick<Question, "placement" | "productId" | "variant" | "context" | "explain" | "deadline_ms"> {
  /** The weight of the list's own order, or of `scores`, in the order that is answered. Default 0. */
  keep?: number;
  /** The page's own, one an item. */
  scores?: number[];
}

export interface RankAnswer extends Pick<Answer, "request_id" | "variant" | "experiments" | "client" | "served_by"> {
  /** Every id once; what is out of stock and what is unknown comes last. */
  ranked: string[];
  ranked_feed: Pick<Entry, "id" | "position" | "fields">[];
  out_of_stock: string[];
  unknown: string[];
  [name: string]: unknown;
}

export interface SimilarAnswer {
  item_id: string;
  recommendations: string[];
  sources: string[];
  [name: string]: unknown;
}

export interface Suggestion {
  text: string;
  kind: "query" | "category" | "brand" | "product";
  /** Of the product, the category's path, or the brand. */
  id?: string;
}

export interface FreshetRecommend extends Freshet {
  /** The rows of a page in one request, at most 12, without repeats between them. */
  recommendRows(rows: RowQuestion[], question?: Omit<Question, "placement" | "k" | "cursor">): Promise<RowsAnswer | null>;
  /** Up to 1,000 ids of the page's own, as of a search result, in the order for the visitor. */
  rank(items: string[], question?: RankQuestion): Promise<RankAnswer | null>;
  /** The visitor's variants of all experiments, each as `experiment=variant`. */
  assign(question?: Pick<Question, "context" | "deadline_ms">): Promise<string[] | null>;
  /** Items like one, the same for everybody; `n` is at most 100. */
  similar(productId: string, n?: number): Promise<SimilarAnswer | null>;
  /** How the text in a search box may go on; `n` is at most 20. */
  suggest(q: string, n?: number): Promise<{ suggestions: Suggestion[]; took_ms: number } | null>;
}

export declare function createFreshet(options: Options): FreshetRecommend;

/** The global `freshet` of the script tag with this build. */
export type GlobalFreshetRecommend = GlobalFreshet & Omit<FreshetRecommend, keyof Freshet>;
