/** The filters above a list: inputs in a row. `/` puts the focus on the first. */
import { NativeSelect, TextInput } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";
import classes from "./FilterBar.module.css";
import { t } from "./texts";

export function FilterBar({ children, end }: { children: ReactNode; end?: ReactNode }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a form has the Enter key and the role; <search> has only the role.
    <form
      role="search"
      aria-label={t("filter")}
      className={classes.bar}
      data-filters
      onSubmit={(event) => event.preventDefault()}
    >
      {children}
      {end && <div className={classes.end}>{end}</div>}
    </form>
  );
}

interface TextProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
  /** What is wrong with the value. */
  error?: string;
}

/** Goes into the address when typing stops. */
export function TextFilter({ label, value, onChange, placeholder, error }: TextProps) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: only what is typed starts the wait.
  useEffect(() => {
    if (typed === value) return;
    const timer = setTimeout(() => onChange(typed), 300);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <TextInput
      type="search"
      label={label}
      placeholder={placeholder}
      error={error}
      value={typed}
      onChange={(event) => setTyped(event.currentTarget.value)}
      size="xs"
    />
  );
}

interface SelectProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: readonly (string | { value: string; label: string })[];
}

export function SelectFilter({ label, value, onChange, options }: SelectProps) {
  return (
    <NativeSelect
      label={label}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      data={[{ value: "", label: t("all") }, ...options.map(named)]}
      size="xs"
    />
  );
}

const named = (option: string | { value: string; label: string }) =>
  typeof option === "string" ? { value: option, label: option.replaceAll("_", " ") } : option;

/** A day such as 2026-11-28, or nothing. */
export function DayFilter({ label, value, onChange }: TextProps) {
  return (
    <TextInput
      type="date"
      label={label}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      size="xs"
    />
  );
}

/** The moment at which a day begins where the reader is, or `plus` days later; nothing for what is no day. */
export function dayBegins(day: string | undefined, plus = 0): string | undefined {
  const [year, month, date] =
    /^(\d{4})-(\d\d)-(\d\d)$/
      .exec(day ?? "")
      ?.slice(1)
      .map(Number) ?? [];
  if (year === undefined || month === undefined || date === undefined) return undefined;
  const moment = new Date(year, month - 1, date + plus);
  return Number.isNaN(moment.getTime()) ? undefined : moment.toISOString();
}
