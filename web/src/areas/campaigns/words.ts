/** Words for values of campaigns that several pages show. */
import type { Audience, Campaign, CampaignChannel } from "@/api/campaigns";
import { t } from "./texts";

export const CHANNELS: readonly CampaignChannel[] = ["email", "sms", "webhook"];
export const STEPS = ["basics", "audience", "content", "schedule", "review"] as const;
export type Step = (typeof STEPS)[number];

export const channelName = (channel: string) => t(`channel_${channel as CampaignChannel}`);

/** Reasons and states of the API as words. */
export const words = (name: string) => name.replaceAll("_", " ");

export const namesNobody = ({ lists = [], segments = [], profiles = [] }: Audience) =>
  lists.length + segments.length + profiles.length === 0;

/** What can be seen to be missing without asking the server. */
export function lacks({ template_id: template, audience }: Campaign): { step: Step; text: string }[] {
  return [
    ...(namesNobody(audience) ? [{ step: "audience" as const, text: t("missing_no_audience") }] : []),
    ...(template === null ? [{ step: "content" as const, text: t("missing_no_template") }] : []),
  ];
}

/** The step on which a field of the API is set. */
export function stepOf(field: string): Step {
  const [first = ""] = field.split(".");
  if (["audience", "exclude"].includes(first)) return "audience";
  if (["template_id", "variables", "test", "utm", "conversion"].includes(first)) return "content";
  return ["name", "purpose", "connection_id"].includes(first) ? "basics" : "schedule";
}

/** "12 minutes" or "3 hours". */
export const duration = (minutes: number) =>
  minutes < 120 ? t("minutes", { n: Math.max(1, Math.ceil(minutes)) }) : t("hours", { n: Math.round(minutes / 60) });
