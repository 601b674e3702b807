/**
 * The script-tag build: the global `freshet`.
 *
 * Calls that the page made before this was loaded wait in `freshet.q` as [method, arguments, when, answer] (see the
 * snippet in README.md) and are made now, as of then. `freshet.init(options)` starts; a tag with `data-collector`
 * starts by itself, with its data attributes as options.
 */

import { runAt } from "./clock.js";
import { createFreshet } from "./freshet.js";

const stub = window.freshet ?? {};
const waiting = stub.q ?? [];
const { dataset } = document.currentScript ?? {};
let client;

const run = ([method, args, atMs, answer]) => answer(runAt(atMs, () => client[method]?.(...args)));

function init(options) {
  if (client) return;
  client = window.freshet = createFreshet({ pages: true, elements: true, ...options });
  client.init = init;
  waiting.forEach(run);
  waiting.push = run; // of those who hold on to the snippet's object
}

// A second copy of the script changes nothing.
if (!stub.close) {
  window.freshet = stub;
  stub.init = init;
  const early = waiting.find(([method]) => method === "init");
  if (early) init(...early[1]);
  else if (dataset?.collector) init(dataset);
}
