/**
 * What a visitor does with pages: views (also of a single-page app, whose address changes without a load), how far they
 * scroll, and how long the page is in sight.
 *
 * A view says the title of half a second later, for apps change the address first and draw then; where the visitor goes on
 * or leaves before, it is told at once. Its time is that of the address.
 *
 * Dwell is sent when the page goes out of sight and when the address changes, each time what has passed since the last
 * report: the sum of a page's dwell events is the time that it was visible.
 */

import { isVisible, whenIdle } from "./clock.js";

const DEPTHS = [25, 50, 75, 90, 100]; // percent
const SCROLL_MS = 200;
const TITLE_MS = 500; // within which apps draw a page, and with it its title
const REDIRECT_MS = 50; // of an address that is replaced so soon only the end counts

/** Watches from now on. */
export function watchPages(core) {
  let url; // of the page that is open
  let viewed; // the one that was told last
  let untold = 0; // the fields of the open page's view, until it is told
  let told; // the title that was told last
  let seen; // the title when the page was opened, or clicked upon since
  let visibleSince = 0;
  let deepest = 0;
  let scrollTimer = 0;
  let viewTimer;

  const addressOf = () => location.href.replace(core.hash ? "" : /#.*/, "");

  const show = () => isVisible() && (visibleSince ||= performance.now());

  function hide() {
    const dwell_ms = Math.round(performance.now() - visibleSince);
    if (visibleSince && dwell_ms) core.track("dwell", { dwell_ms, url });
    visibleSince = 0;
  }

  /** The address may have changed: the page of the old one is over. */
  const moved = core.guarded((how) => {
    if (addressOf() === url) return;
    const isRedirect = how === "replaceState" && Date.now() - untold.timestamp < REDIRECT_MS;
    // A page that has got a title keeps it: the next one's may stand already.
    if (!isRedirect) view(seen === told ? document.title : seen);
    if (url) hide();
    show();
    url = addressOf();
    deepest = 0;
    scrollTimer = clearTimeout(scrollTimer);
    untold = url !== viewed && {
      url: location.href,
      timestamp: Date.now(),
      ...(viewed && { referrer: viewed }),
    };
    seen = document.title;
    viewTimer = setTimeout(view, TITLE_MS);
  });

  /** Tells the view of the page that is open, once: when the app has had time to draw it, or when it goes. */
  const view = core.guarded((title = document.title) => {
    clearTimeout(viewTimer);
    viewed = url;
    if (!untold) return;
    untold.title = told = title;
    core.page(untold);
    untold = 0;
  });

  const measure = core.guarded(() => {
    scrollTimer = 0;
    const depth = Math.round(((scrollY + innerHeight) / document.documentElement.scrollHeight) * 100);
    const passed = Math.max(...DEPTHS.filter((mark) => depth >= mark));
    if (!(scrollY > 0 && passed > deepest)) return;
    deepest = passed;
    core.track("scroll", { depth, url });
  });

  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    const wrapped = (history[name] = function (...args) {
      const result = original.apply(this, args);
      moved(name);
      return result;
    });
    core.stops.push(() => history[name] === wrapped && (history[name] = original));
  }
  core.listen("click", () => (seen = document.title));
  core.listen("popstate", moved); // which a change of the hash fires too
  // From the browser's cache of pages: a visit like one that had to load.
  core.listen("pageshow", ({ persisted }) => persisted && moved((url = viewed = "")));
  core.listen("scroll", () => {
    // Layout is read when the browser has nothing to do, never in the handler.
    scrollTimer ||= setTimeout(whenIdle, SCROLL_MS, measure);
  });
  core.on("show", show);
  core.on("hide", view);
  core.on("hide", hide);
  moved();
}
