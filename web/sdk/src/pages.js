/**
 * What a visitor does with pages: views (also of a single-page app, whose address changes without a load), how far they
 * scroll, and how long the page is in sight.
 *
 * Dwell is sent when the page goes out of sight and when the address changes, each time what has passed since the last
 * report: the sum of a page's dwell events is the time that it was visible.
 */

import { isVisible, now, runAt, whenIdle } from "./clock.js";

const DEPTHS = [25, 50, 75, 90, 100]; // percent
const SCROLL_MS = 200;

/** Watches from now on. */
export function watchPages(core) {
  let url; // of the page that is open
  let viewed; // the one that was told last
  let visibleSince = 0;
  let deepest = 0;
  let scrollTimer = 0;
  let viewTimer = 0;

  const addressOf = () => location.href.replace(core.hash ? "" : /#.*/, "");

  function show() {
    if (isVisible()) visibleSince ||= performance.now();
  }

  function hide() {
    const dwell_ms = Math.round(performance.now() - visibleSince);
    if (visibleSince && dwell_ms) core.track("dwell", { dwell_ms, url });
    visibleSince = 0;
  }

  /** The address may have changed: the page of the old one is over. */
  const moved = core.guarded(() => {
    if (addressOf() === url) return;
    if (url) hide();
    show();
    url = addressOf();
    deepest = 0;
    scrollTimer = clearTimeout(scrollTimer);
    clearTimeout(viewTimer);
    // When the app has drawn: the title is the new page's then, and of a redirect only the end counts.
    viewTimer = setTimeout(runAt, 0, now(), view);
  });

  const view = core.guarded(() => {
    if (viewed === url) return;
    core.page(viewed && { referrer: viewed });
    viewed = url;
  });

  const measure = core.guarded(() => {
    scrollTimer = 0;
    const depth = Math.round(((scrollY + innerHeight) / document.documentElement.scrollHeight) * 100);
    const passed = Math.max(...DEPTHS.filter((mark) => depth >= mark));
    if (scrollY <= 0 || passed <= deepest) return;
    deepest = passed;
    core.track("scroll", { depth, url });
  });

  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    const wrapped = function (...args) {
      const result = original.apply(this, args);
      moved();
      return result;
    };
    history[name] = wrapped;
    core.stops.push(() => history[name] === wrapped && (history[name] = original));
  }
  core.listen(window, "popstate", moved); // which a change of the hash fires too
  // From the browser's cache of pages: a visit like one that had to load.
  core.listen(window, "pageshow", ({ persisted }) => persisted && moved((url = viewed = "")));
  core.listen(window, "scroll", () => {
    // Layout is read when the browser has nothing to do, never in the handler.
    scrollTimer ||= setTimeout(whenIdle, SCROLL_MS, measure);
  });
  core.on("show", show);
  core.on("hide", hide);
  moved();
}
