/** The sending rules as their form edits them, and back. */
import type { FrequencyCap, QuietHours, SendingRules } from "@/api/sendingRules";

export const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;
export const CHANNELS = ["", "sms", "email", "event"] as const;
export const PURPOSES = ["promotional", "any"] as const;
export const ACTIONS = ["hold", "skip"] as const;
export const PERIODS = ["within", "day", "week"] as const;

/** What both kinds of rules have. `key` tells rules apart while others are removed. */
interface Rule {
  key: number;
  /** Empty: all channels. */
  channel: (typeof CHANNELS)[number];
  purpose: (typeof PURPOSES)[number];
  action: (typeof ACTIONS)[number];
  max_hold: string;
}

export interface QuietFields extends Rule {
  from: string;
  to: string;
  days: (typeof DAYS)[number][];
  jitter: string;
}

export interface CapFields extends Rule {
  limit: string;
  period: (typeof PERIODS)[number];
  within: string;
}

export interface RulesFields {
  quiet_hours: QuietFields[];
  frequency_caps: CapFields[];
}

let keys = 0;
const newKey = () => ++keys;

export const newQuiet = (): QuietFields => readQuiet({ from: "21:00", to: "08:00" });

export const newCap = (): CapFields => readCap({ limit: 3, within: "24h" });

function readQuiet(rule: QuietHours): QuietFields {
  const { channel, from, to, days, purpose = "promotional", action = "hold", max_hold = "24h", jitter = "15m" } = rule;
  const rest = { days: days ?? [...DAYS], purpose, action, max_hold, jitter };
  return { key: newKey(), channel: channel ?? "", from, to, ...rest };
}

function readCap(rule: FrequencyCap): CapFields {
  const { channel, limit, within, per, purpose = "promotional", action = "skip", max_hold = "24h" } = rule;
  const period: CapFields["period"] = per ?? "within";
  const rest = { period, within: within ?? "24h", purpose, action, max_hold };
  return { key: newKey(), channel: channel ?? "", limit: String(limit), ...rest };
}

export const readRules = ({ quiet_hours: quiet, frequency_caps: caps }: SendingRules): RulesFields => ({
  quiet_hours: quiet.map(readQuiet),
  frequency_caps: caps.map(readCap),
});

/** What only messages that wait need is left out for others: its fields are not shown. The time zone is the workspace's. */
export const writeRules = ({ quiet_hours: quiet, frequency_caps: caps }: RulesFields) => ({
  quiet_hours: quiet.map(
    ({ channel, from, to, days, purpose, action, max_hold, jitter }): QuietHours => ({
      channel: channel || null,
      from,
      to,
      days,
      purpose,
      action,
      ...(action === "hold" && { max_hold, jitter }),
    }),
  ),
  frequency_caps: caps.map(
    ({ channel, limit, period, within, purpose, action, max_hold }): FrequencyCap => ({
      channel: channel || null,
      limit: Number(limit),
      within: period === "within" ? within : null,
      per: period === "within" ? null : period,
      purpose,
      action,
      ...(action === "hold" && { max_hold }),
    }),
  ),
});

export const lacksTimes = ({ from, to, days }: QuietFields): boolean => !from || !to || days.length === 0;

export const lacksLimit = ({ limit }: CapFields): boolean =>
  !Number.isInteger(Number(limit)) || Number(limit) < 1 || Number(limit) > 100;
