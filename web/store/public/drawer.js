/** "What Freshet knows": the live profile, what is shown and why, and how long every event took to get there. */

import { artwork } from "./art.js";
import { label } from "./catalog.js";
import { announce, h } from "./dom.js";
import { quantile } from "./freshness.js";

const POLL_MS = 1500;
const PARTS = { ctr: "Click model", recency: "Recency", category: "Category", interest: "Interest" };
const WINDOWS = { "1m": "1 min", "5m": "5 min", "24h": "24 h" };
const VERBS = {
  click: "Clicked", view_product: "Viewed", add_to_cart: "Added to cart", remove_from_cart: "Took out", purchase: "Bought",
  search: "Searched", impression: "Saw", page_view: "Opened a page", identify: "Signed in", scroll: "Scrolled", dwell: "Stayed",
};

const ms = (value) => (value == null ? "—" : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);

function ago(sinceMs) {
  const seconds = Math.round((performance.now() - sinceMs) / 1000);
  return seconds < 2 ? "now" : seconds < 90 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
}

export class Drawer {
  constructor({ shop, freshness, toggle, element, slate }) {
    Object.assign(this, { shop, freshness, toggle, element, slate });
    this.parts = Object.fromEntries(["fresh", "who", "profile", "shown", "timeline"].map((name) => [name, h("section", { className: `d-${name}` })]));
    const close = h("button", { type: "button", className: "close", "aria-label": "Close", onclick: () => this.close() }, "✕");
    element.append(
      h("header", { className: "drawer-head" }, h("h2", { id: "drawer-title", tabIndex: -1 }, "What Freshet knows"), close),
      h("div", { className: "drawer-body", tabIndex: 0, role: "region", "aria-label": "Live profile" }, Object.values(this.parts)),
    );
    toggle.addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
    element.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    freshness.listen(() => this.soon());
    this.drawWho();
  }

  get isOpen() {
    return !this.element.hidden;
  }

  open() {
    this.element.hidden = false;
    document.body.classList.add("with-drawer");
    this.toggle.setAttribute("aria-expanded", "true");
    this.freshness.watchAll = true;
    this.timers = [setInterval(() => this.freshness.readProfile(), POLL_MS), setInterval(() => this.draw(), 1000)];
    this.freshness.readProfile();
    this.draw();
    this.element.querySelector("#drawer-title").focus({ preventScroll: true });
  }

  close() {
    this.element.hidden = true;
    document.body.classList.remove("with-drawer");
    this.toggle.setAttribute("aria-expanded", "false");
    this.freshness.watchAll = false;
    this.timers.forEach(clearInterval);
    this.toggle.focus({ preventScroll: true });
  }

  soon() {
    if (!this.isOpen || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    if (!this.isOpen) return;
    for (const name of ["fresh", "profile", "shown", "timeline"]) {
      this.parts[name].replaceChildren(...this[name]().filter((part) => part != null && part !== false));
    }
  }

  fresh() {
    const last = this.freshness.entries.find((entry) => !entry.passive && entry.answeredMs != null);
    const after = (name) => (last?.[name] == null ? null : Math.max(0, last[name] - last.answeredMs));
    const metric = (name, value, key) => h("div", { className: "metric", data: { metric: key } }, h("dd", {}, value), h("dt", {}, name));
    const inProfile = this.freshness.delays("inProfileMs");
    const summary = inProfile.length
      ? `From the collector's answer to the stored profile: p50 ${ms(quantile(inProfile, 0.5))}, p95 ${ms(quantile(inProfile, 0.95))} over ${inProfile.length} events of this visit.`
      : "Click something: each event is timed from the collector's answer on.";
    return [
      h("dl", { className: "metrics" },
        metric("collector", ms(last?.tookMs), "collector"),
        metric("row up to date", after("shownMs") == null ? "—" : `+${ms(after("shownMs"))}`, "shown"),
        metric("in your profile", after("inProfileMs") == null ? "—" : `+${ms(after("inProfileMs"))}`, "profile")),
      h("p", { className: "note" }, summary),
    ];
  }

  drawWho() {
    const { freshet } = this.shop;
    const input = h("input", { name: "user", "aria-label": "Account name", placeholder: "any name", autocomplete: "off", value: freshet.userId ?? "" });
    const signIn = (event) => {
      event.preventDefault();
      if (input.value.trim()) freshet.identify(input.value.trim());
      announce(`Signed in as ${input.value.trim()}`);
      this.drawWho();
    };
    const forget = () => {
      this.shop.forget();
      location.assign("/");
    };
    this.parts.who.replaceChildren(
      h("h3", {}, "You"),
      h("p", { className: "ids" }, freshet.userId ? `Account ${freshet.userId}` : "Anonymous", h("code", { title: freshet.anonymousId }, `a#${freshet.anonymousId.slice(0, 8)}`)),
      h("form", { onsubmit: signIn }, input, h("button", { className: "small", type: "submit" }, "Sign in"), h("button", { className: "small", type: "button", onclick: forget }, "Start over")),
    );
  }

  profile() {
    const { profile } = this.freshness;
    if (!profile?.found) return [h("h3", {}, "Your profile"), h("p", { className: "note" }, "Nothing is stored about you yet.")];
    const size = profile.encoded_bytes ? `${(profile.encoded_bytes / 1000).toFixed(1)} kB` : "";
    return [
      h("h3", {}, "Your profile ", h("small", {}, [`${profile.events_total} events`, size].filter(Boolean).join(" · "))),
      h("ul", { className: "interests", "aria-label": "Interests" }, (profile.top_categories ?? []).slice(0, 5).map(interest)),
      this.recent(profile.recent_items ?? []),
      windows(profile.windows ?? {}),
    ];
  }

  recent(items) {
    const seen = new Set();
    const distinct = items.filter(({ id }) => !seen.has(id) && seen.add(id)).slice(0, 6);
    const thumb = ({ id }) => h("li", { data: { profileItem: id }, title: this.shop.catalog.item(id).title }, artwork(this.shop.catalog.item(id)), h("span", { className: "sr-only" }, this.shop.catalog.item(id).title));
    return distinct.length > 0 && h("ul", { className: "thumbs", "aria-label": "Recent items" }, distinct.map(thumb));
  }

  shown() {
    const slate = this.slate();
    if (!slate) return [];
    const facts = [["served by", slate.served_by], ["took", slate.took_ms == null ? "—" : ms(slate.took_ms)], ["model", slate.model_version ?? "—"], ["shown", ago(slate.shownAtMs)]];
    const most = Math.max(...slate.ranked_feed.map((entry) => total(entry.parts)), 1e-9);
    return [
      h("h3", {}, "Shown now ", h("small", {}, slate.placement)),
      h("dl", { className: "facts", data: { servedBy: slate.served_by } }, facts.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)))),
      h("ul", { className: "legend", "aria-label": "Parts of the score" }, Object.entries(PARTS).map(([key, name]) => h("li", { data: { part: key } }, name))),
      h("ol", { className: "feed" }, slate.ranked_feed.slice(0, 8).map((entry) => this.feedLine(entry, most))),
    ];
  }

  feedLine(entry, most) {
    const item = this.shop.catalog.item(entry.id);
    const parts = Object.keys(PARTS).map((key) => [key, Math.max(0, entry.parts?.[key] ?? 0)]);
    const described = parts.map(([key, value]) => `${PARTS[key]} ${value.toFixed(3)}`).join(", ");
    const bar = h("span", { className: "bar", role: "img", "aria-label": described, title: described });
    for (const [key, value] of parts) {
      const piece = h("i", { data: { part: key } });
      piece.style.width = `${(100 * value) / most}%`;
      bar.append(piece);
    }
    return h("li", {}, artwork(item), h("div", {}, h("span", { className: "feed-title" }, item.title), bar), h("span", { className: "feed-side" }, h("b", {}, entry.score?.toFixed(3) ?? ""), entry.source && h("em", {}, entry.source)));
  }

  timeline() {
    const entries = grouped(this.freshness.entries).slice(0, 20);
    return [
      h("h3", {}, "Your last events ", h("small", {}, "after the collector's answer")),
      entries.length ? h("ol", { className: "events" }, entries.map((entry) => this.eventLine(entry))) : h("p", { className: "note" }, "None yet."),
    ];
  }

  eventLine(entry) {
    const { event, itemId, metadata } = entry;
    const named = itemId ? this.shop.catalog.item(itemId).title : (metadata.query ?? metadata.title ?? "");
    const about = entry.times > 1 ? `${entry.times} items` : named;
    return h(
      "li",
      { data: { eventId: entry.id, event, state: state(entry), item: itemId }, className: entry.passive ? "passive" : "" },
      h("span", { className: "event-name" }, h("b", {}, VERBS[event] ?? event), ` ${about}`),
      h("time", {}, ago(entry.trackedMs)),
      h("span", { className: "stages" }, stages(entry)),
    );
  }
}

/** Impressions that follow each other become one line, told by the first of them. */
function grouped(entries) {
  const lines = [];
  for (const entry of entries) {
    const before = lines.at(-1);
    if (entry.event === "impression" && before?.event === "impression") before.times += 1;
    else lines.push({ ...entry, times: 1 });
  }
  return lines;
}

function state(entry) {
  if (entry.refused) return "refused";
  if (entry.inProfileMs != null) return "in-profile";
  if (entry.late) return "late";
  return entry.answeredMs == null ? "sending" : "answered";
}

function stages(entry) {
  const after = (value) => `+${ms(Math.max(0, value - entry.answeredMs))}`;
  if (entry.refused) return h("i", { className: "bad" }, `refused: ${entry.refused}`);
  if (entry.answeredMs == null) return h("i", { className: "wait" }, "on its way");
  return [
    h("i", { title: "Time the collector took to answer" }, `collector ${ms(entry.tookMs)}`),
    entry.shownMs != null && !entry.passive && h("i", { title: "From the collector's answer to the row that knows of it" }, `row ${after(entry.shownMs)}${entry.changed ? "" : ", same order"}`),
    entry.inProfileMs != null && h("i", { className: "good", title: "From the collector's answer to the stored profile" }, `profile ${after(entry.inProfileMs)}`),
    entry.inProfileMs == null && !entry.passive && h("i", { className: entry.late ? "bad" : "wait" }, entry.late ? "not in the profile yet" : "profile …"),
  ];
}

function interest({ category, interest: share }) {
  const bar = h("i", {});
  bar.style.width = `${Math.round(100 * share)}%`;
  return h("li", {}, h("span", {}, label(category)), h("span", { className: "meter", "aria-hidden": "true" }, bar), h("b", {}, `${Math.round(100 * share)}%`));
}

function windows(counts) {
  const kinds = ["view_product", "click", "add_to_cart", "purchase", "search", "impression"].filter((kind) => Object.values(counts).some((window) => window?.[kind]));
  if (!kinds.length) return false;
  const cell = (key, kind) => h("td", {}, counts[key]?.[kind] ?? 0);
  const row = (kind) => h("tr", {}, h("th", { scope: "row" }, kind.replaceAll("_", " ")), Object.keys(WINDOWS).map((key) => cell(key, kind)));
  const head = h("tr", {}, h("th", { scope: "col" }, "in the last"), Object.values(WINDOWS).map((name) => h("th", { scope: "col" }, name)));
  return h("table", { className: "windows" }, h("thead", {}, head), h("tbody", {}, kinds.map(row)));
}

function total(parts) {
  return Object.keys(PARTS).reduce((sum, key) => sum + Math.max(0, parts?.[key] ?? 0), 0);
}
