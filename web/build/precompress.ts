/** Writes a .br and a .gz beside every built file that gets smaller by it, so that the server compresses nothing. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const TEXT = /\.(js|css|svg|json|txt)$/;

export function precompress(): Plugin {
  let folder = "";
  return {
    name: "waypost-precompress",
    apply: "build",
    configResolved(config) {
      folder = config.build.outDir;
    },
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf-8" })) {
        if (!TEXT.test(name)) continue;
        const path = join(folder, name);
        const bytes = readFileSync(path);
        const options = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };
        const packed = { br: brotliCompressSync(bytes, options), gz: gzipSync(bytes, { level: 9 }) };
        for (const [ending, smaller] of Object.entries(packed)) {
          if (smaller.length < bytes.length) writeFileSync(`${path}.${ending}`, smaller);
        }
      }
    },
  };
}
