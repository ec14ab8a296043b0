/** The latest events, as they come in. */
import { Anchor, Stack, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { latestEvents } from "@/api/home";
import { CodeBlock } from "@/parts/CodeBlock";
import { curl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { t } from "./texts";

const EXAMPLE = { userId: "ada", event: "Order Completed", properties: { total: 99.5 } };

export function LatestEvents() {
  const query = useQuery(latestEvents);
  return (
    <Section title={t("latest")}>
      <States query={query} isEmpty={() => false}>
        {({ data }) =>
          data.length === 0 ? (
            <Stack gap="xs">
              <Text size="sm" c="dimmed">
                {t("noEvents")}
              </Text>
              <CodeBlock
                text={curl({ method: "POST", path: "/v1/track", body: EXAMPLE })}
                hiddenLabel={t("terminal")}
              />
            </Stack>
          ) : (
            <Table aria-label={t("latest")}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col">{t("event")}</Table.Th>
                  <Table.Th scope="col">{t("when")}</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {data.map(({ id, type, data: about, received_at }) => {
                  const to: string = `/events/${id}`;
                  return (
                    <Table.Tr key={id}>
                      <Table.Td style={{ overflowWrap: "anywhere" }}>
                        <Anchor component={Link} to={to} size="sm">
                          {nameOf(type, about)}
                        </Anchor>
                      </Table.Td>
                      <Table.Td>
                        <Time at={received_at} />
                      </Table.Td>
                    </Table.Tr>
                  );
                })}
              </Table.Tbody>
            </Table>
          )
        }
      </States>
    </Section>
  );
}

/** Returns the name that the sender gave the event, or its type. */
function nameOf(type: string, about: unknown): string {
  const metric = (about as { metric?: unknown } | null)?.metric;
  return typeof metric === "string" ? metric : type;
}
