/** What the owner of each address said about its channel, with a change and the history. */
import { Anchor, Button, Group, Modal, Stack, Table, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useMay, useMe } from "@/api/me";
import {
  type Channel,
  type Person,
  type PersonSubscription,
  personSubscriptionsQuery,
  setSubscription,
  subscriptionHistoryQuery,
} from "@/api/people";
import { type Suppression, suppressionsQuery } from "@/api/suppressions";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { States } from "@/parts/States";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { toastError } from "@/parts/toasts";
import { reasonOf } from "./suppressions";
import { t } from "./texts";

export function Subscriptions({ person }: { person: Person }) {
  const email = useQuery(personSubscriptionsQuery(person.id, "email"));
  const sms = useQuery(personSubscriptionsQuery(person.id, "sms"));
  const suppressed = useQuery(suppressionsQuery({ profile_id: person.id }));
  const [open, setOpen] = useState<PersonSubscription>();
  const rows = [...(email.data?.data ?? []), ...(sms.data?.data ?? [])];
  return (
    <Section title={t("subscriptions")} lead={t("subscriptionsLead")}>
      <States query={email.isError ? email : sms} isEmpty={() => false}>
        {() =>
          rows.length === 0 ? (
            <Text size="sm" c="dimmed">
              {t("noAddresses")}
            </Text>
          ) : (
            <Table.ScrollContainer minWidth={0} type="native">
              <Table aria-label={t("subscriptions")}>
                <Table.Thead>
                  <Table.Tr>
                    {(["channel", "address", "state", "source", "since"] as const).map((name) => (
                      <Table.Th key={name} scope="col">
                        {t(name)}
                      </Table.Th>
                    ))}
                    <Table.Td />
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {rows.map((row) => (
                    <Row
                      key={`${row.channel} ${row.address}`}
                      id={person.id}
                      row={row}
                      suppression={suppressed.data?.data.find(
                        ({ channel, address }) => channel === row.channel && address === row.address,
                      )}
                      open={() => setOpen(row)}
                    />
                  ))}
                </Table.Tbody>
              </Table>
            </Table.ScrollContainer>
          )
        }
      </States>
      <Modal
        opened={open !== undefined}
        onClose={() => setOpen(undefined)}
        title={open && t("historyOf", { address: open.address, channel: open.channel })}
        closeButtonProps={{ "aria-label": t("close") }}
        size="lg"
      >
        {open && <History row={open} />}
      </Modal>
    </Section>
  );
}

interface RowProps {
  id: string;
  row: PersonSubscription;
  /** Why the address gets nothing, whatever its owner said. */
  suppression: Suppression | undefined;
  open: () => void;
}

function Row({ id, row, suppression, open }: RowProps) {
  const { channel, address, state } = row;
  const queries = useQueryClient();
  const me = useMe();
  const may = useMay()("people.write");
  const next = state === "subscribed" ? "unsubscribed" : "subscribed";
  const change = useMutation({
    mutationFn: () => setSubscription(id, channel as Channel, address, next, me?.user?.email ?? "interface"),
    onSettled: () => queries.invalidateQueries({ queryKey: ["people", id] }),
    onError: toastError,
  });

  async function ask() {
    const question = { title: t("subscribeQuestion", { address }), body: t("subscribeBody"), action: t("subscribe") };
    if (next === "unsubscribed" || (await confirm(question))) change.mutate();
  }

  return (
    <Table.Tr>
      <Table.Td>{channel}</Table.Td>
      <Table.Td>{address}</Table.Td>
      <Table.Td>
        <Group gap="xs">
          {state ? <Status value={state} /> : t("unknownState")}
          {suppression && (
            <Anchor component={Link} to="/people/suppressions" search={{ address, channel } as never}>
              <Status value="rejected" label={t("suppressedBecause", { reason: reasonOf(suppression) })} />
            </Anchor>
          )}
        </Group>
      </Table.Td>
      <Table.Td>{row.source ?? "–"}</Table.Td>
      <Table.Td>{row.changed_at ? <Time at={row.changed_at} /> : "–"}</Table.Td>
      <Table.Td>
        <Group gap="xs" justify="flex-end">
          <Button size="xs" variant="default" aria-label={t("historyOf", { address, channel })} onClick={open}>
            {t("history")}
          </Button>
          {may && (
            <Button
              size="xs"
              variant="default"
              aria-label={t(next === "subscribed" ? "subscribeOf" : "unsubscribeOf", { address, channel })}
              onClick={() => void ask()}
              loading={change.isPending}
            >
              {t(next === "subscribed" ? "subscribe" : "unsubscribe")}
            </Button>
          )}
        </Group>
      </Table.Td>
    </Table.Tr>
  );
}

function History({ row: { channel, address } }: { row: PersonSubscription }) {
  const history = useQuery(subscriptionHistoryQuery(channel, address));
  return (
    <States query={history} empty={{ title: t("noHistory") }}>
      {({ data }) => (
        <Stack component="ol" gap="xs" ps="md">
          {data.map((one) => (
            <li key={`${one.changed_at} ${one.recorded_at} ${one.state}`}>
              <Group gap="xs">
                <Status value={one.state} />
                <Text size="sm">{one.source}</Text>
                <Text size="sm" c="dimmed">
                  <Time at={one.changed_at} exact />
                </Text>
              </Group>
              {!one.effective && (
                <Text size="xs" c="dimmed">
                  {t("late")}
                </Text>
              )}
              {one.proof && (
                <Text size="xs" ff="monospace">
                  {JSON.stringify(one.proof)}
                </Text>
              )}
            </li>
          ))}
        </Stack>
      )}
    </States>
  );
}
