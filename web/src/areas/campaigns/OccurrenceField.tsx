/** Chooses one of the times at which a recurring campaign was sent. */
import { NativeSelect } from "@mantine/core";
import type { Campaign } from "@/api/campaigns";
import { formatDateTime } from "@/locales/format";
import { t } from "./texts";

interface Props {
  campaign: Campaign;
  value: string;
  change: (id: string) => void;
  /** What no choice means: all together, or the latest. */
  otherwise: string;
}

export function OccurrenceField({ campaign: { occurrences }, value, change, otherwise }: Props) {
  if (occurrences.length < 2 && !value) return null;
  // An address may name one that is too old to be among those that are offered.
  const unlisted = value && !occurrences.some(({ id }) => id === value) ? [{ value, label: value }] : [];
  return (
    <NativeSelect
      maw={360}
      label={t("occurrence")}
      value={value}
      onChange={(event) => change(event.currentTarget.value)}
      data={[
        { value: "", label: otherwise },
        ...unlisted,
        ...occurrences.map(({ id, planned_at: at, winner }) => ({
          value: id,
          label: [formatDateTime(new Date(at)), winner && t("winner", { name: winner })].filter(Boolean).join(" · "),
        })),
      ]}
    />
  );
}
