/** Viewable impressions: half of an item visible for a second, once for each request id, placement and item. */

import { isVisible } from "./clock.js";

/** Gives `core` its `observe` and `fieldsAt`. */
export function addImpressions(core, methods) {
  const watches = new Map(); // element -> {about, seen, timer}
  const clickable = new WeakMap(); // element -> the fields of its clicks
  const reported = new Set(); // request id, placement and item of every impression already sent
  let observer;

  /**
   * Reports an impression of `element` with `fields` (product_id, request_id, placement, variant, position,
   * propensity). With `clicks`, a click in it is told too, with the same fields. Observing an element again replaces
   * its fields. Returns a function that stops it.
   */
  methods.observe = (element, fields, clicks) => {
    observer ??= new IntersectionObserver((entries) => entries.forEach(onIntersection), { threshold: 0.5 });
    unobserve(element);
    observer.observe(element);
    watches.set(element, { about: fields });
    if (clicks) clickable.set(element, fields);
    return () => {
      unobserve(element);
      clickable.delete(element);
    };
  };

  function unobserve(element) {
    clearTimeout(watches.get(element)?.timer);
    watches.delete(element);
    observer.unobserve(element);
  }

  /** The fields of a click there, or nothing. */
  core.fieldsAt = (element) => element && (clickable.get(element) ?? core.fieldsAt(element.parentElement));

  function onIntersection({ target, intersectionRatio }) {
    const watch = watches.get(target);
    if (!watch) return;
    watch.seen = intersectionRatio >= 0.5;
    time(watch, target);
  }

  /** The second runs while the item is seen and the page is in sight. */
  function time(watch, element) {
    clearTimeout(watch.timer);
    if (!element.isConnected) unobserve(element);
    else if (watch.seen && isVisible()) watch.timer = setTimeout(report, core.impressionMs, element, watch.about);
  }

  const report = core.guarded((element, fields) => {
    const key = [fields.request_id, fields.placement, fields.product_id].join();
    unobserve(element);
    if (fields.product_id && !reported.has(key) && core.track("impression", fields)) reported.add(key);
  });

  core.on("hide", () => watches.forEach(time));
  core.on("show", () => watches.forEach(time));
  core.stops.push(() => watches.forEach((_, element) => unobserve(element)));
}
