/** An operator and the value that it compares with. */
import { NativeSelect, TextInput } from "@mantine/core";
import { OPERATORS, type Operator, type Test } from "./condition";
import { t } from "./texts";

export function TestFields({ test, change }: { test: Test; change: (next: Test) => void }) {
  const { operator, value } = test;
  const time = operator === "before" || operator === "after";
  return (
    <>
      <NativeSelect
        size="xs"
        aria-label={t("test")}
        value={operator}
        onChange={(event) => change({ operator: event.currentTarget.value as Operator, value })}
        data={OPERATORS.map((one) => ({ value: one, label: t(`op_${one}`) }))}
      />
      {operator !== "exists" && operator !== "missing" && (
        <TextInput
          size="xs"
          aria-label={operator === "in" ? t("values") : t("value")}
          placeholder={time ? t("timeHint") : operator === "in" ? t("values") : t("value")}
          value={value}
          onChange={(event) => change({ operator, value: event.currentTarget.value })}
        />
      )}
    </>
  );
}
