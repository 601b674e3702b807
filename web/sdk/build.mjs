/** Writes dist/: the ES module and the script-tag build, bundled by esbuild and minified by terser. `node build.mjs [folder]` */

import { build } from "esbuild";
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const folder = process.argv[2] ?? here("dist");
const BUILDS = {
  "freshet.js": { entry: "src/freshet.js", format: "esm" },
  "freshet.global.js": { entry: "src/script.js", format: "iife" },
};
/** Names of the SDK's own that no page and no browser knows. */
const INTERNAL =
  /^(adopt|retryNow|fieldsAt|decided|agreed|renew|whom|store|write|keysOf|load|save|forget|erase|persist|guarded|listen|stops|emit|fail|atMs|cards|question|isBanner|keep|abandon|found|hide|leave|wire|enqueue|discard|seen|after|refused|settle|apply|carried|element|timer)$/;

await mkdir(folder, { recursive: true });
for (const [name, { entry, format }] of Object.entries(BUILDS)) {
  const bundled = await build({
    entryPoints: [here(entry)],
    bundle: true,
    format,
    target: "es2021",
    mangleProps: INTERNAL,
    write: false,
    minifySyntax: true,
  });
  const options = { module: true, toplevel: true, ecma: 2020 };
  const compress = { passes: 3, unsafe: true, pure_getters: true, hoist_funs: true, keep_fargs: false, booleans_as_integers: true, unsafe_arrows: true };
  const { code } = await minify(bundled.outputFiles[0].text, { ...options, compress, mangle: true });
  await writeFile(`${folder}/${name}`, code);
  console.log(`${name}: ${code.length} bytes, ${gzipSync(code, { level: 9 }).length} gzipped`);
}
