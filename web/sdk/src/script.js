/**
 * The script-tag build: the global `freshet`.
 *
 * Calls that the page made before this was loaded wait in `freshet.q` as [method, arguments, when, answer] (see the
 * snippet in README.md) and are made now, as of then. `freshet.init(options)` starts; a tag with `data-collector`
 * starts by itself.
 */

import { runAt } from "./clock.js";
import { createFreshet } from "./freshet.js";

const target = (window.freshet ??= {});
const waiting = target.q ?? [];
const { collector, api, key, consent, auto } = document.currentScript?.dataset ?? {};

function init(options) {
  if (target.track && !target.q) return; // started already
  delete target.q;
  const client = createFreshet({ auto: true, ...options });
  Object.defineProperties(target, Object.getOwnPropertyDescriptors(client));
  for (const [method, args, atMs, answer] of waiting) if (client[method]) answer(runAt(atMs, () => client[method](...args)));
}

if (!target.createFreshet) {
  Object.assign(target, { createFreshet, init });
  const early = waiting.find(([method]) => method === "init");
  if (early) init(...early[1]);
  else if (collector) init({ collector, api, writeKey: key, consent: consent ?? "granted", auto: auto !== "false" });
}
