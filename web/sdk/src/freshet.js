/**
 * Freshet browser SDK: sends what a visitor does to the collector and asks the API what to show next.
 *
 *   <script type="module">
 *     import { createFreshet } from "https://cdn.example/freshet.js";
 *     const freshet = createFreshet({ collector: "https://collect.example", api: "https://api.example", pages: true });
 *     freshet.track("view_product", { product_id: "p456", category: "electronics" });
 *     const slate = await freshet.recommend({ placement: "home", k: 12 });
 *   </script>
 *
 * Nothing here throws into the host page: what goes wrong is told to `on("error", …)` listeners.
 * Delivery is at least once; every event carries its own id, so a repeated one changes nothing downstream.
 *
 * The parts share one object, `core`: the settings, and what each part gives the others.
 */

import { isVisible, whenIdle } from "./clock.js";
import { watchClicks, watchElements } from "./elements.js";
import { makeId } from "./ids.js";
import { watchPages } from "./pages.js";
import { PARTS } from "./parts.js";
import { DEFAULTS } from "./settings.js";

export { makeId };

const isPage = globalThis.document;

/** Lets `core` follow the page. */
function watch(core) {
  function back() {
    core.emit("show");
    core.retryNow();
    core.inherit();
  }

  // Fires also when the page comes back from the browser's cache of pages.
  core.listen("visibilitychange", () => (isVisible() ? back() : core.outOfSight()));
  core.listen("pagehide", core.leave);
  core.listen("online", back);
  core.listen("storage", ({ key }) => {
    const before = core.agreed();
    core.reread(key);
    if (core.agreed() !== before) core.follow(before);
  });
  watchClicks(core);

  const start = core.guarded(() => core.pages && watchPages(core));
  if (document.prerendering) core.listen("prerenderingchange", start);
  else start();
  const settle = core.guarded(() => {
    if (core.agreed() === 0) core.erase();
    core.inherit();
    if (core.elements) watchElements(core);
  });
  whenIdle(settle);
}

/** One visitor's connection to Freshet. `options`: see `freshet.d.ts`. On a server it does nothing. */
export function createFreshet(options) {
  const methods = {}; // what a page may call; the parts call it by `core`
  const core = Object.assign(Object.create(methods), DEFAULTS, options);
  for (const add of PARTS) add(core, methods);

  /** Sends what waits and stops listening. */
  methods.close = () => {
    core.leave();
    core.stops.forEach((stop) => stop());
  };

  if (isPage) watch(core);

  const known = (id) => (isPage && core.agreed() !== 0 && core.whom()[id]) || null;
  const client = {
    get anonymousId() {
      return known("anonymous_id");
    },
    get userId() {
      return known("user_id");
    },
    get sessionId() {
      return known("session_id");
    },
  };
  for (const name in methods) client[name] = core.guarded(isPage && methods[name], name);
  return client;
}
