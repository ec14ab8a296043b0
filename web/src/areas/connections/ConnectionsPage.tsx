/** The page /connections: those of each channel in their order, which dragging and buttons change. */
import { ActionIcon, Anchor, Button, Group, Table, Text } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconGripVertical } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type Connection, connectionsQuery, connectorsQuery, orderConnections } from "@/api/connections";
import { useMay } from "@/api/me";
import { announce } from "@/parts/announce";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { toastError } from "@/parts/toasts";
import { useLive } from "@/parts/useLive";
import classes from "./ConnectionsPage.module.css";
import { Health, Result, State } from "./State";
import { t } from "./texts";
import { useDragOrder } from "./useDragOrder";

/** Left out where there is no room. */
const WIDE = new Set(["connector", "health"]);
const CHANNELS = ["sms", "email", "event"] as const;

export function ConnectionsPage() {
  const query = useQuery(connectionsQuery);
  const may = useMay()("connections.write");
  useLive(["connections"]);
  const create = may && (
    <Button component={Link} to="/connections/new">
      {t("newConnection")}
    </Button>
  );
  return (
    <Page
      title={t("title")}
      lead={t("lead")}
      actions={
        <>
          <CopyAsCurl path="/v1/connections" />
          {create}
        </>
      }
    >
      <States query={query} empty={{ title: t("none"), hint: t("noneHint"), children: create || undefined }}>
        {({ data }) =>
          CHANNELS.map((channel) => {
            const connections = data
              .filter((one) => one.channel === channel)
              .sort((one, other) => one.position - other.position || one.created_at.localeCompare(other.created_at));
            return (
              connections.length > 0 && <Channel key={channel} channel={channel} connections={connections} may={may} />
            );
          })
        }
      </States>
    </Page>
  );
}

interface ChannelProps {
  channel: (typeof CHANNELS)[number];
  connections: Connection[];
  may: boolean;
}

function Channel({ channel, connections, may }: ChannelProps) {
  const connectors = useQuery(connectorsQuery).data?.data ?? [];
  const queries = useQueryClient();
  const order = useMutation({
    mutationFn: ({ ids }: { ids: string[]; name: string; n: number }) => orderConnections(channel, ids),
    onSuccess: (_, { name, n }) => {
      announce(t("moved", { name, n }));
      void queries.invalidateQueries({ queryKey: ["connections"] });
    },
    onError: toastError,
  });

  function move(from: number, by: number) {
    const ids = connections.map(({ id }) => id);
    const [id] = ids.splice(from, 1);
    if (id === undefined) return;
    ids.splice(from + by, 0, id);
    order.mutate({ ids, name: connections[from]?.name ?? id, n: from + by + 1 });
  }

  const drag = useDragOrder(move);
  const several = connections.length > 1;
  return (
    <Section title={t(`channel_${channel}`)} lead={several ? t("orderLead") : undefined}>
      <Table.ScrollContainer minWidth={0} type="native">
        <Table aria-label={t(`channel_${channel}`)} verticalSpacing="xs">
          <Table.Thead>
            <Table.Tr>
              {(["name", "connector", "status", "health", "check"] as const).map((column) => (
                <Table.Th key={column} scope="col" visibleFrom={WIDE.has(column) ? "sm" : undefined}>
                  {t(column)}
                </Table.Th>
              ))}
              {may && several && <Table.Th scope="col">{t("order")}</Table.Th>}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {connections.map((connection, index) => (
              <Table.Tr key={connection.id} className={classes.row} {...(may && several && drag.row(index))}>
                <Table.Td>
                  <Anchor
                    component={Link}
                    to="/connections/$id"
                    params={{ id: connection.id } as never}
                    size="sm"
                    fw={500}
                  >
                    {connection.name}
                  </Anchor>
                </Table.Td>
                <Table.Td visibleFrom="sm">
                  {connectors.find(({ name }) => name === connection.connector)?.label ?? connection.connector}
                </Table.Td>
                <Table.Td>
                  <State status={connection.status} />
                  {connection.status_reason && (
                    <Text size="xs" c="dimmed">
                      {connection.status_reason.replaceAll("_", " ")}
                    </Text>
                  )}
                </Table.Td>
                <Table.Td visibleFrom="sm">
                  <Health health={connection.health} />
                </Table.Td>
                <Table.Td>
                  {connection.check ? <Result result={connection.check.result} /> : t("notChecked")}
                  {connection.check?.checked_at && (
                    <Text size="xs" c="dimmed">
                      <Time at={connection.check.checked_at} />
                    </Text>
                  )}
                </Table.Td>
                {may && several && (
                  <Table.Td>
                    <Group gap={4} wrap="nowrap">
                      <span
                        className={classes.handle}
                        title={t("drag", { name: connection.name })}
                        {...drag.handle(index)}
                      >
                        <IconGripVertical size={16} aria-hidden />
                      </span>
                      <ActionIcon
                        variant="default"
                        aria-label={t("up", { name: connection.name })}
                        disabled={index === 0 || order.isPending}
                        onClick={() => move(index, -1)}
                      >
                        <IconArrowUp size={16} aria-hidden />
                      </ActionIcon>
                      <ActionIcon
                        variant="default"
                        aria-label={t("down", { name: connection.name })}
                        disabled={index === connections.length - 1 || order.isPending}
                        onClick={() => move(index, 1)}
                      >
                        <IconArrowDown size={16} aria-hidden />
                      </ActionIcon>
                    </Group>
                  </Table.Td>
                )}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Section>
  );
}
