/**
 * The script-tag build: the global `freshet`.
 *
 * Calls that the page made before this was loaded wait in `freshet.q` as [method, arguments, when, answer] (see the
 * snippet in README.md) and are made now, as of then. `freshet.init(options)` starts; a tag with `data-collector`
 * starts by itself, with its data attributes as options.
 */

import { runAt } from "./clock.js";
import { createFreshet } from "./freshet.js";

const stub = (window.freshet ??= { q: [] });
const waiting = stub.q; // a second copy of the script finds none, and changes nothing
const dataset = document.currentScript?.dataset;
let client;

const run = ([method, args, atMs, answer]) => answer(runAt(atMs, () => client[method]?.(...args)));

function init(options) {
  if (client) return;
  client = window.freshet = createFreshet({ pages: true, elements: true, ...options });
  client.init = init;
  waiting.forEach(run);
  waiting.push = run; // of those who hold on to the snippet's object
}

if (waiting) {
  stub.init = init;
  waiting.forEach(([method, args]) => method === "init" && init(...args));
  if (dataset?.collector) init(dataset);
}
