/** Chooses the period of the figures, in days until now. */
import { NativeSelect } from "@mantine/core";
import { t } from "./texts";

const DAYS = [1, 7, 30, 90];
const USUAL = 30;

export const daysOf = (value: string): number => (DAYS.includes(Number(value)) ? Number(value) : USUAL);

export function DaysFilter({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  return (
    <NativeSelect
      label={t("period")}
      value={String(daysOf(value))}
      onChange={(event) => onChange(event.currentTarget.value === String(USUAL) ? "" : event.currentTarget.value)}
      data={DAYS.map((n) => ({ value: String(n), label: t("days", { n }) }))}
      size="xs"
    />
  );
}
