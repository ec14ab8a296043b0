/** The sending rules of the workspace: quiet hours and frequency caps. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type SendingRules = Schemas["SendingRulesDetail"];
export type QuietHours = Schemas["QuietHoursRule"];
export type FrequencyCap = Schemas["FrequencyCapRule"];

export const sendingRulesQuery = queryOptions({
  queryKey: ["sending-rules"],
  queryFn: ({ signal }) => ask(client.GET("/v1/sending-rules", { signal })),
});

/** All rules at once; refused if others changed them since this version. */
export const setSendingRules = (body: Schemas["SetSendingRules"]) => ask(client.PUT("/v1/sending-rules", { body }));
