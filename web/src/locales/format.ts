/** Numbers and times in the viewer's language and zone. */

export function locale(): string {
  return document.documentElement.lang || "en";
}

const numbers = new Map<string, Intl.NumberFormat>();

export function formatNumber(value: number, options: Intl.NumberFormatOptions = {}): string {
  const key = `${locale()} ${JSON.stringify(options)}`;
  const format = numbers.get(key) ?? new Intl.NumberFormat(locale(), options);
  numbers.set(key, format);
  return format.format(value);
}

export const formatPercent = (share: number): string =>
  formatNumber(share, { style: "percent", maximumFractionDigits: share > 0 && share < 0.1 ? 2 : 1 });

export function formatBytes(bytes: number): string {
  const unit = bytes < 1024 ? "byte" : bytes < 1024 * 1024 ? "kilobyte" : "megabyte";
  const value = bytes / { byte: 1, kilobyte: 1024, megabyte: 1024 * 1024 }[unit];
  return formatNumber(value, {
    style: "unit",
    unit,
    unitDisplay: unit === "byte" ? "long" : "short",
    maximumFractionDigits: 1,
  });
}

export const formatDateTime = (at: Date, timeZone?: string): string =>
  new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "medium", timeZone }).format(at);

export const formatDate = (at: Date): string => new Intl.DateTimeFormat(locale(), { dateStyle: "medium" }).format(at);

export const formatTimeOfDay = (at: Date): string =>
  new Intl.DateTimeFormat(locale(), { timeStyle: "short" }).format(at);

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

/** Returns "5 minutes ago" or "in 2 hours". */
export function formatRelative(at: Date, now: number): string {
  const seconds = (at.getTime() - now) / 1000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? (["second", 1] as const);
  const style: Intl.RelativeTimeFormatOptions = { numeric: "auto" };
  return new Intl.RelativeTimeFormat(locale(), style).format(Math.trunc(seconds / size), unit);
}
