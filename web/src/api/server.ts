/** The settings of the server that a workspace depends on, and a test of its own mail. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Server = Schemas["Server"];
export type MailTest = Schemas["MailTest"];

export const serverQuery = queryOptions({
  queryKey: ["server"],
  queryFn: ({ signal }) => ask(client.GET("/v1/server", { signal })),
});

export const sendTestMail = () => ask(client.POST("/v1/server/test-mail"));
