/** A length of time, as the API writes it: a number and a unit, such as 24h. */
import { Group, NativeSelect, TextInput } from "@mantine/core";
import { t } from "./texts";

const UNITS = ["m", "h", "d", "w"] as const;

interface Props {
  label: string;
  description?: string;
  value: string;
  error?: string;
  onChange: (next: string) => void;
  units?: readonly (typeof UNITS)[number][];
}

export function DurationField({ label, description, value, error, onChange, units = UNITS }: Props) {
  const length = value.slice(0, -1);
  const unit = value.slice(-1);
  return (
    <TextInput
      label={label}
      description={description}
      error={error}
      inputMode="numeric"
      value={length}
      onChange={(event) => onChange(`${event.currentTarget.value.replace(/\D/g, "")}${unit}`)}
      inputContainer={(input) => (
        <Group gap={4} wrap="nowrap">
          {input}
          <NativeSelect
            aria-label={t("unitOf", { label })}
            value={unit}
            onChange={(event) => onChange(`${length}${event.currentTarget.value}`)}
            data={units.map((one) => ({ value: one, label: t(`unit_${one}`) }))}
          />
        </Group>
      )}
      maw={300}
    />
  );
}
