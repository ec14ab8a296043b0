/** Numbers and times in the viewer's language and zone. */

export function locale(): string {
  return document.documentElement.lang || "en";
}

/** Returns what makes a formatter only once for a language and options: making one takes as long as many uses of it. */
function remember<Options, Format>(make: (language: string, options: Options) => Format) {
  const made = new Map<string, Format>();
  return (options: Options): Format => {
    const language = locale();
    const key = `${language} ${JSON.stringify(options)}`;
    const known = made.get(key) ?? make(language, options);
    made.set(key, known);
    return known;
  };
}

const numberFormat = remember<Intl.NumberFormatOptions, Intl.NumberFormat>(
  (language, options) => new Intl.NumberFormat(language, options),
);
const dateFormat = remember<Intl.DateTimeFormatOptions, Intl.DateTimeFormat>(
  (language, options) => new Intl.DateTimeFormat(language, options),
);
const relativeFormat = remember<Intl.RelativeTimeFormatOptions, Intl.RelativeTimeFormat>(
  (language, options) => new Intl.RelativeTimeFormat(language, options),
);
/** The rules by which a language chooses among the forms of a plural. */
export const pluralRules = remember<Intl.PluralRulesOptions, Intl.PluralRules>(
  (language, options) => new Intl.PluralRules(language, options),
);

export const formatNumber = (value: number, options: Intl.NumberFormatOptions = {}): string =>
  numberFormat(options).format(value);

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
  dateFormat({ dateStyle: "medium", timeStyle: "medium", timeZone }).format(at);

export const formatDate = (at: Date): string => dateFormat({ dateStyle: "medium" }).format(at);

export const formatTimeOfDay = (at: Date): string => dateFormat({ timeStyle: "short" }).format(at);

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
  return relativeFormat({ numeric: "auto" }).format(Math.trunc(seconds / size), unit);
}
