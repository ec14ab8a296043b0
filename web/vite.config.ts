/** How the interface is built, served while developing, and tested. */
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { precompress } from "./build/precompress.ts";

/** The server that a development server passes requests of the API to, and an API key for them. */
const server = process.env.API_URL ?? "http://127.0.0.1:8080";
const key = process.env.API_KEY;
const api = { target: server, changeOrigin: false, headers: key ? { authorization: `Bearer ${key}` } : undefined };

export default defineConfig({
  plugins: [react(), precompress()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  html: {
    // The server puts a new number in its place into every answer: its policy allows only styles that know it.
    cspNonce: "waypost-nonce",
  },
  build: {
    outDir: fileURLToPath(new URL("../src/waypost/web/static", import.meta.url)),
    emptyOutDir: true,
    manifest: "manifest.json",
    target: "es2022",
    // A data: URL would have to be allowed by the policy for every kind of file.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { port: 0, proxy: { "/v1": api, "/openapi.json": api, "/text/": api } },
  test: {
    environment: "jsdom",
    globals: false,
    setupFiles: ["./src/testing/setup.ts"],
    css: false,
    restoreMocks: true,
    testTimeout: 20_000,
  },
});
