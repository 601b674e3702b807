/** Freshet's browser SDK. Nothing here throws into the page: see `on("error", …)`. */

/** What an event says beside its name; `null` and `undefined` are left out. `product_id` and `timestamp` are its own fields, the rest is metadata. */
export interface Fields {
  product_id?: string | number | null;
  /** When it happened, where that is not now: milliseconds since 1970, a date, or RFC 3339. */
  timestamp?: number | string | Date;
  [name: string]: unknown;
}

/** What the visitor agreed to: to be counted, and to be remembered. */
export interface Consent {
  analytics: boolean;
  personalization: boolean;
}

export interface Options {
  /** Base address of the collector, `https://collect.shop.example`. */
  collector: string;
  /** Base address of the recommendations API; without it there are none. */
  api?: string;
  /** The site's write key (a browser one, for all to see). */
  writeKey?: string;
  /** Views, scroll depth and dwell of pages, by themselves, also of a single-page app. The script tag's build: true. */
  pages?: boolean;
  /** With `pages`: a change of the address behind `#` is another page. */
  hash?: boolean;
  /** What `data-freshet-*` attributes say, by itself. The script tag's build: true. */
  elements?: boolean;
  /** What holds before the visitor decides; "pending" waits in memory, "denied" tells and keeps nothing. Default: "granted". */
  consent?: "granted" | "denied" | "pending";
  /** Whether Global Privacy Control and Do Not Track are honoured. Default: true. */
  respectSignals?: boolean;
  /** What the site knows of items, for slots: `{id: {title, image, …}}`. */
  items?: (ids: string[]) => Record<string, object> | Promise<Record<string, object>>;
  /** Milliseconds that events wait for company. Default: 250. */
  flushMs?: number;
  /** Events a request, 1 to 500. Default: 50. */
  batchSize?: number;
  /** Events kept while the collector is away; the oldest go first. Default: 1000. */
  queueLimit?: number;
  /** Characters kept in localStorage. Default: 500,000. */
  queueBytes?: number;
  /** Names of events that do not wait. */
  immediate?: string[];
  /** Milliseconds of silence after which a visit ends. Default: 30 minutes. */
  sessionIdleMs?: number;
  /** Milliseconds for which an event counts as not yet in the profile. Default: 10,000. */
  pendingMs?: number;
  /** First and longest pause before a request is sent again, in milliseconds. Defaults: 500, 30,000. */
  retryMs?: number;
  retryMaxMs?: number;
  /** Milliseconds for a request. Default: 10,000. */
  requestTimeoutMs?: number;
  /** Milliseconds for which half of an element must be in sight to count as an impression. Default: 1000. */
  impressionMs?: number;
  /** Milliseconds between two reports of a playing medium. Default: 10,000. */
  progressMs?: number;
  /** Milliseconds after an event until slots ask again. Default: 300. */
  refreshMs?: number;
}

export interface Question {
  /** Default: "home". */
  placement?: string;
  /** How many items, 1 to 100. Default: 20. */
  k?: number;
  /** The product that the page is about. */
  productId?: string;
  /** An experiment's half. */
  variant?: "personalized" | "popular";
  /** Ids that are not to come. */
  exclude?: string[];
}

export interface Recommended {
  id: string;
  score: number;
  position: number;
  propensity: number;
  /** What an impression or a click of it has to say. */
  fields: Fields;
}

export interface Answer {
  request_id: string;
  recommendations: string[];
  ranked_feed: Recommended[];
  personalized_banner: { id: string; headline: string; text: string; category: string; product_id: string | null };
  served_by: string;
  variant: string;
  client: { asked_ms: number; answered_ms: number; included: string[] };
}

export interface SlotQuestion extends Question {
  /** The element of an item; without it the slot's `<template>` is filled. */
  render?: (entry: Recommended, item?: object) => Element;
}

export interface Order {
  order_id?: string;
  currency?: string;
  coupon?: string;
  lines: Fields[];
  [name: string]: unknown;
}

export type Stop = () => void;

export interface Freshet {
  readonly anonymousId: string | null;
  readonly userId: string | null;
  readonly sessionId: string | null;
  /** Queues an event; its id, or null where the visitor agreed to nothing. The same `id` again is the same event. */
  track(name: string, fields?: Fields, id?: string): string | null;
  /** A page view. */
  page(fields?: Fields): string | null;
  view(item: string | number | Fields, fields?: Fields): string | null;
  addToCart(item: string | number | Fields, fields?: Fields): string | null;
  removeFromCart(item: string | number | Fields, fields?: Fields): string | null;
  search(query: string, fields?: Fields): string | null;
  /** One event a line; with an `order_id` a second call buys nothing twice. */
  purchase(order: Order): (string | null)[] | null;
  /** Ties the visitor to an account. */
  identify(userId: string | number, traits?: Fields): string | null;
  /** Forgets account, anonymous id and visit, as at logout. */
  reset(): void;
  /** Takes the visitor's decision, and says what holds; null while it is pending. */
  consent(decision?: Partial<Consent>): Consent | null;
  /** An impression once half of the element was in sight for a second, once for each request id, placement and item. */
  observe(element: Element, fields: Fields, clicks?: boolean): Stop;
  observeMedia(element: HTMLMediaElement, fields?: Fields): Stop;
  /** Shows recommendations, or with `isBanner` the banner that comes with them, and asks again after events. */
  slot(element: Element, question?: SlotQuestion, isBanner?: boolean): Stop;
  /** The API's answer, or null. */
  recommend(question?: Question): Promise<Answer | null>;
  /** The stored profile, or null. */
  profile(question?: { eventId?: string }): Promise<Record<string, unknown> | null>;
  /** Events that the stored profile may not hold yet; `settled` says that it does. */
  pending(): object[];
  settled(eventIds: string[]): void;
  /** Sends what waits. */
  flush(): void;
  /** Sends what waits and stops listening. */
  close(): void;
  on(name: "tracked" | "answered" | "rejected" | "error" | "consent" | "show" | "hide", listener: (detail: any) => void): Stop;
}

export function createFreshet(options: Options): Freshet;
/** A random UUID, version 4. */
export function makeId(): string;

declare global {
  interface Window {
    /** Of the script-tag build. */
    freshet?: Freshet & { init(options: Options): void };
  }
}
