/** The inputs for the fields of a connector: label, help, kind and secrecy are the connector's. */
import { Checkbox, NativeSelect, PasswordInput, Textarea, TextInput } from "@mantine/core";
import type { Connection, ConnectorField } from "@/api/connections";
import type { Field } from "@/parts/useForm";
import { keyOf } from "./configForm";
import { t } from "./texts";

interface Props {
  fields: readonly ConnectorField[];
  regions?: readonly string[];
  field: (name: string) => Field<string | boolean>;
  old?: Connection;
}

/** Fields whose values have several lines. */
const LONG = /^(body_template|headers|.*public_key)$/;

export function ConfigFields({ fields, regions = [], field, old }: Props) {
  return fields.map((one) => {
    const { value, onChange, ...bound } = field(keyOf(one.name));
    const stored = old?.secrets[one.name];
    const shared = {
      ...bound,
      label: one.label,
      description: one.help || undefined,
      required: one.required && one.default === null && !stored,
    };
    if (one.kind === "boolean") {
      return (
        <Checkbox
          key={one.name}
          {...bound}
          label={one.label}
          description={shared.description}
          checked={value === true}
          onChange={onChange}
        />
      );
    }
    const text = { ...shared, value: String(value), onChange };
    if (one.kind === "choice") {
      const choices = one.required || one.default !== null ? one.choices : ["", ...one.choices];
      return <NativeSelect key={one.name} {...text} data={choices} />;
    }
    if (one.secret) {
      return (
        <PasswordInput
          key={one.name}
          {...text}
          placeholder={stored ? `${stored} ${t("kept")}` : undefined}
          autoComplete="off"
          visibilityToggleButtonProps={{ "aria-label": t("reveal", { label: one.label }) }}
        />
      );
    }
    if (one.name === "region" && regions.length > 0) {
      return (
        <div key={one.name}>
          <TextInput {...text} list="regions" />
          <datalist id="regions">
            {regions.map((region) => (
              <option key={region} value={region} />
            ))}
          </datalist>
        </div>
      );
    }
    if (LONG.test(one.name)) return <Textarea key={one.name} {...text} autosize minRows={2} spellCheck={false} />;
    return <TextInput key={one.name} {...text} inputMode={one.kind === "number" ? "numeric" : undefined} />;
  });
}
