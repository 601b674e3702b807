/** Viewable impressions: half of an item visible for a second, once for each request id, placement and item. */

export function createImpressions(settings, { on, guarded }, track) {
  const watches = new WeakMap(); // element -> {element, fields, timer}
  const timed = new Set(); // the watches that are half visible now
  const clickable = new WeakMap(); // element -> the fields of its clicks
  const reported = new Set(); // request id, placement and item of every impression already sent
  let observer = null;

  /**
   * Reports an impression of `element` with `fields` (product_id, request_id, placement, variant, position,
   * propensity). With `clicks`, a click in it is told too, with the same fields. Observing an element again replaces
   * its fields. Returns a function that stops it.
   */
  function observe(element, fields, clicks) {
    observer ??= new IntersectionObserver((entries) => entries.forEach(onIntersection), { threshold: [0, 0.5] });
    unobserve(element);
    watches.set(element, { element, fields });
    observer.observe(element);
    if (clicks) clickable.set(element, fields);
    return () => {
      unobserve(element);
      clickable.delete(element);
    };
  }

  /** The fields of a click there, or nothing. */
  function fieldsAt(element) {
    for (let at = element; at; at = at.parentElement) if (clickable.has(at)) return clickable.get(at);
    return null;
  }

  function unobserve(element) {
    const watch = watches.get(element);
    if (!watch) return;
    disarm(watch);
    timed.delete(watch);
    watches.delete(element);
    observer.unobserve(element);
  }

  function onIntersection({ target, isIntersecting, intersectionRatio }) {
    const watch = watches.get(target);
    if (!watch) return;
    if (isIntersecting && intersectionRatio >= 0.5) {
      timed.add(watch);
      arm(watch);
    } else {
      timed.delete(watch);
      disarm(watch);
    }
  }

  function arm(watch) {
    if (document.visibilityState === "visible") watch.timer ||= setTimeout(report, settings.impressionMs, watch);
  }

  function disarm(watch) {
    clearTimeout(watch.timer);
    watch.timer = 0;
  }

  const report = guarded("impression", ({ fields, element }) => {
    const key = [fields.request_id, fields.placement, fields.product_id].join("|");
    unobserve(element);
    if (reported.has(key) || !fields.product_id) return;
    if (track("impression", fields)) reported.add(key);
  });

  on("hide", () => timed.forEach(disarm));
  on("show", () => timed.forEach(arm));

  /** Stops all of it. */
  function stop() {
    observer?.disconnect();
    timed.forEach(disarm);
  }

  return { observe, fieldsAt, stop };
}
