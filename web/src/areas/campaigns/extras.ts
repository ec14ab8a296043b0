/** The best variant, the goal, the UTM parameters and the tracking of a campaign as the form edits them, and back. */
import type { Campaign, Change } from "@/api/campaigns";

/** Whether something of a campaign is tracked: as the workspace has it, or a choice of its own. */
export const TRACKED = ["workspace", "yes", "no"] as const;
type Tracked = (typeof TRACKED)[number];

export const MEASURES = ["opens", "clicks", "conversions"] as const;

export interface Extras {
  winner: boolean;
  /** In percent. */
  sample: string;
  winner_by: (typeof MEASURES)[number];
  after: string;
  minimum: string;
  event: string;
  within: string;
  own_utm: boolean;
  source: string;
  medium: string;
  campaign: string;
  opens: Tracked;
  clicks: Tracked;
}

const readTracked = (own: boolean | null | undefined): Tracked => (own == null ? "workspace" : own ? "yes" : "no");
const writeTracked = (one: Tracked) => (one === "workspace" ? null : one === "yes");

/** A share as percent, without what floating-point numbers add. */
const percent = (share: number) => String(Number((share * 100).toFixed(6)));

export function readExtras({ test, conversion, utm, tracking }: Campaign): Extras {
  return {
    winner: test !== null,
    sample: percent(test?.sample ?? 0.2),
    winner_by: test?.winner_by ?? "clicks",
    after: test?.after ?? "4h",
    minimum: String(test?.minimum ?? 1),
    event: conversion?.event ?? "",
    within: conversion?.within ?? "7d",
    own_utm: utm !== null,
    source: utm?.source ?? "",
    medium: utm?.medium ?? "",
    campaign: utm?.campaign ?? "",
    opens: readTracked(tracking?.opens),
    clicks: readTracked(tracking?.clicks),
  };
}

export function writeExtras(extras: Extras): Pick<Change, "test" | "conversion" | "utm" | "tracking"> {
  const { winner, sample, winner_by, after, minimum, event, within } = extras;
  const { own_utm: own, source, medium, campaign } = extras;
  const tracking = { opens: writeTracked(extras.opens), clicks: writeTracked(extras.clicks) };
  return {
    test: winner
      ? { sample: Number((Number(sample) / 100).toFixed(8)), winner_by, after, minimum: Number(minimum) }
      : null,
    conversion: event.trim() ? { event: event.trim(), within } : null,
    utm: own ? { source: source.trim(), medium: medium.trim(), campaign: campaign.trim() } : null,
    tracking: tracking.opens === null && tracking.clicks === null ? null : tracking,
  };
}

/** What is wrong with the search for the best variant, as the name of a text. */
export function winnerLacks(extras: Extras): "sampleNeeded" | "minimumNeeded" | "goalNeeded" | undefined {
  const { sample, winner_by: by, minimum, event } = extras;
  const share = Number(sample);
  if (!(share > 0 && share < 100)) return "sampleNeeded";
  if (!(Number.isInteger(Number(minimum)) && Number(minimum) > 0)) return "minimumNeeded";
  return by === "conversions" && !event.trim() ? "goalNeeded" : undefined;
}
