/** The schedule of a campaign as its form edits it, and back. */
import type { Campaign, Schedule } from "@/api/campaigns";

export const KINDS = ["now", "at", "local", "recurring"] as const;
export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
export type Day = (typeof DAYS)[number];

export interface ScheduleFields {
  kind: (typeof KINDS)[number];
  at: string;
  late: "skip" | "now" | "next_day";
  every: "day" | "week" | "month";
  interval: string;
  weekdays: Day[];
  day: string;
  time: string;
  timezone: string;
  endsOn: string;
}

export const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** A time of the API as the field of the browser wants it: local, without seconds. */
function toLocal(at: string): string {
  const time = new Date(at);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** `zone` is offered for a campaign that has no time zone yet. */
export function readSchedule({ schedule }: Campaign, zone: string): ScheduleFields {
  const empty: ScheduleFields = {
    kind: schedule.kind,
    at: "",
    late: "skip",
    every: "week",
    interval: "1",
    weekdays: [],
    day: "",
    time: "09:00",
    timezone: zone,
    endsOn: "",
  };
  switch (schedule.kind) {
    case "at":
      return { ...empty, at: toLocal(schedule.at) };
    case "local":
      return { ...empty, at: schedule.at.slice(0, 16), late: schedule.late ?? "skip" };
    case "recurring":
      return {
        ...empty,
        every: schedule.every,
        interval: String(schedule.interval ?? 1),
        weekdays: schedule.weekdays ?? [],
        day: schedule.day ? String(schedule.day) : "",
        time: schedule.at,
        timezone: schedule.timezone ?? "UTC",
        endsOn: schedule.ends_on ?? "",
      };
    default:
      return empty;
  }
}

export function writeSchedule(fields: ScheduleFields): Schedule {
  const { kind, at, late, every, interval, weekdays, day, time, timezone, endsOn } = fields;
  switch (kind) {
    case "at":
      return { kind, at: at ? new Date(at).toISOString() : "" };
    case "local":
      return { kind, at, late };
    case "recurring":
      return {
        kind,
        every,
        interval: Number(interval) || 1,
        at: time,
        timezone,
        ...(every === "week" && weekdays.length > 0 && { weekdays }),
        ...(every === "month" && day && { day: Number(day) }),
        ...(endsOn && { ends_on: endsOn }),
      };
    default:
      return { kind: "now" };
  }
}
