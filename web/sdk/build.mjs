/** Writes dist/: the ES modules and the script-tag builds, bundled by esbuild and minified by terser. `node build.mjs [folder]` */

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
  "freshet.recommend.js": { entry: "src/freshet_recommend.js", format: "esm" },
  "freshet.recommend.global.js": { entry: "src/script_recommend.js", format: "iife" },
};
/** Names of the SDK's own. None that a browser or a page knows may stand here: the build shortens a name wherever it is used. */
const INTERNAL =
  /^(ask|inherit|retryNow|fieldsAt|decided|agreed|renew|whom|shelf|writeDown|keysOf|recall|remember|reread|erase|keepValues|guarded|listen|stops|emit|fail|atMs|cards|asks|place|shown|isBanner|keepLines|abandon|found|outOfSight|leave|wire|queueUp|discard|seen|waitFor|refused|settle|follow|carried|timer|about)$/;

await mkdir(folder, { recursive: true });
for (const [name, { entry, format }] of Object.entries(BUILDS)) {
  const bundled = await build({
    entryPoints: [here(entry)],
    bundle: true,
    format,
    target: "es2021",
    mangleProps: INTERNAL,
    define: format === "iife" ? { "globalThis.document": "true", "globalThis.navigator": "navigator" } : {}, // a script tag is never on a server
    write: false,
    minifySyntax: true,
  });
  const options = { module: true, toplevel: true, ecma: 2020 };
  const compress = { passes: 3, unsafe: true, pure_getters: true, hoist_funs: true, keep_fargs: false, booleans_as_integers: true, unsafe_arrows: true, reduce_funcs: false };
  const { code } = await minify(bundled.outputFiles[0].text, { ...options, compress, mangle: true });
  await writeFile(`${folder}/${name}`, code);
  console.log(`${name}: ${code.length} bytes, ${gzipSync(code, { level: 9 }).length} gzipped`);
}
