/** While developing with an API key: says who the key is, until the server does so itself. */
import type { Plugin } from "vite";
import { PERSON } from "../src/testing/person.ts";

export function keySession(server: string, key: string | undefined): Plugin {
  return {
    name: "waypost-key-session",
    apply: "serve",
    configureServer({ middlewares }) {
      if (!key) return;
      middlewares.use("/v1/me", async (_request, response) => {
        const answer = await fetch(`${server}/v1/me`, { headers: { authorization: `Bearer ${key}` } });
        response.setHeader("content-type", "application/json");
        response.statusCode = answer.status === 404 ? 200 : answer.status;
        response.end(answer.status === 404 ? JSON.stringify(PERSON) : await answer.text());
      });
    },
  };
}
