/** Everything that happened to a message, step by step. */
import { Group, Stack, Text } from "@mantine/core";
import type { MessageDetail } from "@/api/messages";
import { Section } from "@/parts/Details";
import { Reason } from "@/parts/Reason";
import { Time } from "@/parts/Time";
import { ConnectionName } from "./ConnectionName";
import { MessageState, reasonWords } from "./MessageState";
import { rich, t } from "./texts";

export function History({ message: { history } }: { message: MessageDetail }) {
  return (
    <Section title={t("history")} lead={t("historyLead")}>
      <ol aria-label={t("history")}>
        {history.map((entry, index) => (
          // Entries have no id, may be equal, and never change their place.
          // biome-ignore lint/suspicious/noArrayIndexKey: there is no other key.
          <li key={index}>
            <Stack gap={2} mb="sm">
              <Group gap="xs">
                {entry.status ? <MessageState status={entry.status} /> : <Text size="sm">{t("report")}</Text>}
                <Text size="sm" c="dimmed">
                  <Time at={entry.at} exact />
                </Text>
              </Group>
              {entry.connection_id && (
                <Text size="sm">
                  {rich("through", { connection: <ConnectionName key="name" id={entry.connection_id} /> })}
                </Text>
              )}
              <Reason code={entry.code ?? entry.provider_code} text={reasonWords(entry.reason)} fix={entry.detail} />
              {entry.code != null && entry.provider_code && (
                <Text size="xs" c="dimmed">
                  {t("providerCode")}: {entry.provider_code}
                </Text>
              )}
              {entry.noted && (
                <Text size="xs" c="dimmed">
                  {t("noted")}
                </Text>
              )}
            </Stack>
          </li>
        ))}
      </ol>
    </Section>
  );
}
