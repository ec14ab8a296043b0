/** The tracking settings as their form edits them, and back. What is left empty follows the server. */
import type { SetTracking, Tracking } from "@/api/tracking";

export interface TrackingFields {
  opens: boolean;
  clicks: boolean;
  transactional: boolean;
  bait: boolean;
  base_url: string;
  data_center: string;
  link_days: string;
  utm: boolean;
  utm_source: string;
  utm_medium: string;
  utm_campaign: string;
  opt_out_text: string;
}

export function readTracking(found: Tracking): TrackingFields {
  const { base_url, data_center, data_centers, link_days, default_link_days, utm, ...rest } = found;
  const { opens, clicks, transactional, bait, opt_out_text } = rest;
  return {
    opens,
    clicks,
    transactional,
    bait,
    base_url: base_url === data_centers[data_center] ? "" : base_url,
    data_center,
    link_days: link_days === default_link_days ? "" : String(link_days),
    utm: utm !== null,
    utm_source: utm?.source ?? "",
    utm_medium: utm?.medium ?? "",
    utm_campaign: utm?.campaign ?? "",
    opt_out_text,
  };
}

export function writeTracking(fields: TrackingFields): SetTracking {
  const { base_url, link_days, utm, utm_source: source, utm_medium: medium, utm_campaign: campaign, ...rest } = fields;
  return {
    ...rest,
    base_url: base_url.trim() || null,
    link_days: link_days.trim() ? Number(link_days) : null,
    utm: utm ? { source: source.trim(), medium: medium.trim(), campaign: campaign.trim() } : null,
  };
}

/** A link with these parameters, as an example. */
export function exampleLink({ utm, utm_source, utm_medium, utm_campaign }: TrackingFields): string {
  const url = new URL("https://shop.example/");
  const named = { utm_source, utm_medium, utm_campaign: utm_campaign.trim() || "promotional" };
  for (const [name, value] of Object.entries(named)) if (utm && value.trim()) url.searchParams.set(name, value.trim());
  return url.href;
}
