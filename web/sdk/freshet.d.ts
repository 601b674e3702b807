/** Freshet's browser SDK. What each call does is told in README.md. */

/** What the visitor agreed to: to be counted, and to be remembered. */
export interface Consent {
  analytics: boolean;
  personalization: boolean;
}

export interface Options {
  /** The collector's address. */
  collector: string;
  /** The recommendations API's address; needed for `recommend`, `profile` and slots. */
  api?: string;
  /** The site's write key; it travels as `?key=`. */
  writeKey?: string;
  /** Tell page views (also of a single-page app), scroll depth and dwell by itself. Default false; the script tag: true. */
  pages?: boolean;
  /** Follow `data-freshet-*` attributes. Default false; the script tag: true. */
  elements?: boolean;
  /** Whether a change of the address after `#` is a page view. Default false. */
  hash?: boolean;
  /** What holds until the visitor decides. Default "granted". With "pending" events wait in memory. */
  consent?: "granted" | "denied" | "pending";
  /** Honour Global Privacy Control and Do Not Track. Default true. */
  respectSignals?: boolean;
  /** What the site knows of items, for the templates of slots, by id. */
  items?: (ids: string[]) => Record<string, Record<string, any>> | Promise<Record<string, Record<string, any>>>;
  /** How long events wait for company, in ms. Default 250. */
  flushMs?: number;
  /** Events in one request. Default 50. */
  batchSize?: number;
  /** Events that wait while the collector is away; the oldest go first. Default 1000. */
  queueLimit?: number;
  /** Characters of them that are kept in localStorage. Default 500 000. */
  queueBytes?: number;
  /** Events that are sent at once, and after which slots ask again. Default: what a person does in a shop. */
  immediate?: string[];
  /** A session ends after so long without an event, in ms. Default 30 min. */
  sessionIdleMs?: number;
  /** How long an event counts as not yet processed, in ms. Default 10 s. */
  pendingMs?: number;
  /** The first wait before a repetition, which doubles, in ms. Default 500. */
  retryMs?: number;
  /** The longest such wait, in ms; what the collector asks for may be longer. Default 30 s. */
  retryMaxMs?: number;
  /** How long an answer is waited for, in ms. Default 10 s. */
  requestTimeoutMs?: number;
  /** How long half of an item must be visible, in ms. Default 1000. */
  impressionMs?: number;
  /** Time watched between two media_progress events, in ms. Default 10 s. */
  progressMs?: number;
  /** How long slots wait after an event before they ask again, in ms. Default 300. */
  refreshMs?: number;
}

/** `product_id` and `timestamp` are an event's own fields, all else is metadata; null and undefined are left out. */
export interface Fields {
  product_id?: string | number | null;
  timestamp?: Date | string | number;
  category?: string | null;
  brand?: string | null;
  price?: number | null;
  list_price?: number | null;
  discount?: number | null;
  quantity?: number | null;
  request_id?: string | null;
  placement?: string | null;
  variant?: string | null;
  /** As the answer has them. */
  experiments?: string[];
  position?: number | null;
  propensity?: number | null;
  [name: string]: any; // which a page's own interfaces fit, too
}

export interface Order {
  /** With it the same order, told twice, is the same events. */
  order_id?: string | number;
  lines: Fields[];
  [name: string]: any;
}

export type EventName =
  | "page_view"
  | "click"
  | "search"
  | "scroll"
  | "view_product"
  | "add_to_cart"
  | "remove_from_cart"
  | "purchase"
  | "media_play"
  | "media_pause"
  | "media_progress"
  | "dwell"
  | "impression"
  | "identify"
  | "visibility"
  | (string & {});

export interface Question {
  /** Where it will be shown. Default "home". */
  placement?: string;
  /** How many items, at most 100. Default: the placement's own, 20 unless the shop says otherwise. */
  k?: number;
  /** The product whose page it is. */
  productId?: string;
  /** What the visitor gets; "popular" also without personalization. Default "personalized". */
  variant?: "personalized" | "popular";
  /** Items not to show. */
  exclude?: string[];
  /** Further items that the page is about. */
  product_ids?: string[];
  /** An expression that all items fulfil. */
  filter?: string;
  /** The `cursor` of an answer: asks for what comes after it. */
  cursor?: string | null;
  /** The circumstances, for ranking, filters and rules. Device and language are the browser's own where they are absent. */
  context?: Context;
  /** The grounds of each item, where the API runs with FRESHET_PROFILE_VIEW. */
  explain?: boolean;
  /** After so long the answer is what is there, in ms. */
  deadline_ms?: number;
}

/** In the collector's words, e.g. `{ country: "NL", device: "mobile", language: "nl", referrer_kind: "search" }`. */
export interface Context {
  country?: string;
  device?: string;
  language?: string;
  referrer_kind?: string;
  /** Of the visitor, at most 16. */
  traits?: Record<string, string | number | boolean>;
}

/** One recommended item. */
export interface Entry {
  id: string;
  position: number;
  propensity: number;
  /** How it was scored and found; only where the API runs with FRESHET_PROFILE_VIEW. */
  score?: number;
  source?: string;
  /** What an impression or a click of it has to say. */
  fields: Fields;
  [name: string]: unknown;
}

export interface Banner {
  id: string;
  headline: string;
  text: string;
  category?: string;
  product_id?: string | null;
  fields: Fields;
}

export interface Answer {
  request_id: string;
  recommendations: string[];
  ranked_feed: Entry[];
  personalized_banner: Banner | null;
  /** The placement that was answered; the default one where the shop has none of that name. */
  placement: string;
  /** Of a row, such as "Because you viewed Lamp". */
  title?: string;
  /** Asks for what comes after these; null at the end. */
  cursor?: string | null;
  served_by: string;
  variant: string;
  /** The visitor's variants of experiments that make a difference here, each as `experiment=variant`; absent without experiments. */
  experiments?: string[];
  /** When it was asked and answered (`performance.now()`), and the pending events that were sent along. */
  client: { asked_ms: number; answered_ms: number; included: string[] };
  [name: string]: unknown;
}

export interface SlotQuestion extends Question {
  /** Makes the element of one item; without it the element's `<template>` is filled. */
  render?: (entry: Entry, item: Record<string, any> | undefined) => Element;
}

export interface Happenings {
  tracked: { id: string; event: string; product_id?: string | number | null; metadata: Record<string, unknown>; at_ms: number };
  answered: { ids: string[]; accepted?: number; rejected: number; withheld?: number; answered_ms: number; took_ms: number };
  rejected: { id: string; event: string; reason: string };
  error: { where?: string; error: unknown };
  consent: Consent;
  /** The visitor is another one: after `reset`, and `identify` with another account. What was recommended is not theirs. */
  reset: undefined;
  /** The page is in sight again, or goes out of sight. */
  show: undefined;
  hide: undefined;
}

type Stop = () => void;

/** No method throws; one that fails, and every one on a server, answers null and tells the listeners of "error". */
export interface Freshet {
  /** null where the visitor agreed to nothing. */
  readonly anonymousId: string | null;
  readonly userId: string | null;
  readonly sessionId: string | null;
  /** Queues an event; its id, or null. An `id` of one's own makes an event count once, however often it is told. */
  track(event: EventName, fields?: Fields, id?: string): string | null;
  page(fields?: Fields): string | null;
  view(product: string | number | Fields, fields?: Fields): string | null;
  addToCart(product: string | number | Fields, fields?: Fields): string | null;
  removeFromCart(product: string | number | Fields, fields?: Fields): string | null;
  search(query: string, fields?: Fields): string | null;
  /** One purchase for each line; the order's other fields go with each. */
  purchase(order: Order): (string | null)[] | null;
  /**
   * This browser is the account's from now on. `token`: the HMAC of the id that the shop's server makes, where the collector
   * has a FRESHET_USER_KEY; it holds until the next `identify` or `reset`.
   */
  identify(userId: string | number, traits?: Fields | null, token?: string | null): string | null;
  /** New ids, as at logout. */
  reset(): void;
  /**
   * Takes the visitor's decision (what it does not name stays); what holds, or null while it is pending. Of texts "true"
   * and "granted" are a yes; whatever else is not `true` is a no.
   */
  consent(decision?: { [Purpose in keyof Consent]?: boolean | string }): Consent | null;
  /** Tells an impression once half of the element was visible for a second; with `clicks` the clicks too. */
  observe(element: Element, fields: Fields, clicks?: boolean): Stop | null;
  observeMedia(element: HTMLMediaElement, fields?: Fields): Stop | null;
  recommend(question?: Question): Promise<Answer | null>;
  /** Shows recommendations in an element, anew after events; with `banner` the banner that comes with them. */
  slot(element: Element, question: SlotQuestion, banner?: boolean): Stop | null;
  /** The stored profile, where the API shows it; with an event's id, name and product whether that event is in it. */
  profile(event?: { event_id: string; event: EventName; product_id?: string }): Promise<Record<string, any> | null>;
  /** The events that may not have been processed yet. */
  pending(): Record<string, unknown>[] | null;
  /** The profile holds these events. */
  settled(eventIds: string[]): void;
  flush(): void;
  /** Sends what waits and stops listening. */
  close(): void;
  on<Name extends keyof Happenings>(name: Name, listener: (detail: Happenings[Name]) => void): Stop | null;
}

export declare function createFreshet(options: Options): Freshet;

/** A random UUID. */
export declare function makeId(): string;

type Early<Method> = Method extends (...args: infer Args) => infer Result ? (...args: Args) => Result | Promise<Awaited<Result>> : Method;

/** The global `freshet` of the script tag. Until the script has loaded, the snippet's methods answer by a promise. */
export type GlobalFreshet = { [Name in Exclude<keyof Freshet, "on" | "recommend" | "profile">]: Early<Freshet[Name]> } & Pick<
  Freshet,
  "recommend" | "profile"
> & {
    on<Name extends keyof Happenings>(
      name: Name,
      listener: (detail: Happenings[Name]) => void,
    ): Stop | null | Promise<Stop | null>;
    init(options: Options): void;
  };

declare global {
  interface Window {
    /** There as soon as the snippet has run, or the one tag has loaded. */
    freshet?: GlobalFreshet;
  }
}
