/** What an endpoint gets, in words: taking everything stands out. */
import { Badge, Text } from "@mantine/core";
import type { Webhook } from "@/api/webhooks";
import { t } from "./texts";

const SHOWN = 2;

export function Scope({ webhook: { event_types: types, filter, format, text_client_id } }: { webhook: Webhook }) {
  const named = types.map((type) => (type.endsWith(".*") ? t("allOf", { types: type.slice(0, -2) }) : type));
  const first = named.slice(0, SHOWN).join(", ");
  const rest = named.length - SHOWN;
  return (
    <>
      {types.includes("*") && format === "standard" ? (
        <Badge color="orange" variant="light" tt="none" miw="max-content">
          {t("allEvents")}
        </Badge>
      ) : types.includes("*") ? (
        <Text size="sm">{t("allOfFormat")}</Text>
      ) : (
        <Text size="sm" style={{ overflowWrap: "anywhere" }}>
          {rest > 0 ? t("scopeMore", { types: first, n: rest }) : first}
        </Text>
      )}
      {filter && (
        <Text size="xs" c="dimmed">
          {t("scopeFiltered")}
        </Text>
      )}
      {text_client_id && (
        <Text size="xs" c="dimmed">
          {t("ofClient")}
        </Text>
      )}
    </>
  );
}
