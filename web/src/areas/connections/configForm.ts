/** The values of a form that is drawn from the fields of a connector, and the config that becomes of them. */
import type { Connection, ConnectorField } from "@/api/connections";
import { t } from "./texts";

/** Config fields may be called like other fields of the form, so they have a prefix. */
export const keyOf = (field: string) => `config_${field}`;

export type ConfigValues = Record<string, string | boolean>;

/** What the form starts with. Secrets are never shown, so they start empty. */
export function configValues(fields: readonly ConnectorField[], old?: Connection): ConfigValues {
  const values = fields.map((field) => {
    const stored = old ? (old.config as Record<string, unknown>)[field.name] : field.default;
    if (field.kind === "boolean") return [keyOf(field.name), stored === true] as const;
    return [keyOf(field.name), field.secret || stored == null ? "" : String(stored)] as const;
  });
  return Object.fromEntries(values);
}

export function configChecks(fields: readonly ConnectorField[], old?: Connection) {
  const checks = fields.map((field) => {
    const kept = field.secret && old?.secrets[field.name] != null;
    return [
      keyOf(field.name),
      (value: string | boolean) => {
        if (typeof value === "boolean") return undefined;
        if (value.trim() === "") return field.required && !kept && field.default === null ? t("needed") : undefined;
        if (field.kind === "number" && !Number.isFinite(Number(value))) return t("number");
        return fits(field.pattern, value) ? undefined : t("badFormat");
      },
    ] as const;
  });
  return Object.fromEntries(checks);
}

/** The patterns are RE2's; what the browser cannot read is left to the server. */
function fits(pattern: string, value: string): boolean {
  if (!pattern) return true;
  try {
    return new RegExp(`^(?:${pattern})$`, "u").test(value);
  } catch {
    return true;
  }
}

/** In a change, an empty secret keeps the old one, and an emptied field is removed. */
export function configOf(fields: readonly ConnectorField[], values: ConfigValues, old?: Connection) {
  const config: Record<string, unknown> = {};
  for (const field of fields) {
    const value = values[keyOf(field.name)];
    if (typeof value === "boolean") config[field.name] = value;
    else if (value === undefined || value === "") {
      if (old && !field.secret) config[field.name] = null;
    } else config[field.name] = field.kind === "number" ? Number(value) : value;
  }
  return config as Record<string, never>;
}

/** Where the API names a field by its bare name. */
export const configNames = (fields: readonly ConnectorField[]) =>
  Object.fromEntries(
    fields.flatMap(({ name }) => [[`config.${name}`, keyOf(name)], ...(name === "name" ? [] : [[name, keyOf(name)]])]),
  ) as Record<string, string>;
