/** The numbers of an overview: what became of the messages, failures with their meaning, links and variants. */
import { Anchor, SimpleGrid, Table, Text } from "@mantine/core";
import "@mantine/core/styles/SimpleGrid.css";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Overview } from "@/api/campaigns";
import { formatPercent } from "@/locales/format";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { t } from "./texts";
import { words } from "./words";

const sum = (counts: readonly { count: number }[]) => counts.reduce((total, { count }) => total + count, 0);

export function Numbers({ of }: { of: Overview }) {
  const accepted = of.sent;
  const share = (n: number) => (accepted > 0 ? formatPercent(n / accepted) : undefined);
  const tiles: [name: string, n: number, more?: string | undefined][] = [
    [t("audience"), of.audience],
    [t("waiting"), of.waiting],
    [t("queued"), of.queued],
    [t("held"), sum(of.held)],
    [t("sent"), of.sent],
    [t("delivered"), of.delivered, share(of.delivered)],
    [t("failed"), sum(of.failed)],
    [t("skipped"), sum(of.skipped)],
    [t("unknown"), of.unknown],
    [t("holdoutPeople"), of.holdout],
    [t("opens"), of.opens.unique, t("machines", { n: of.opens.machine })],
    [t("clicks"), of.clicks.unique, t("machines", { n: of.clicks.machine })],
    [t("unsubscribes"), of.unsubscribes, share(of.unsubscribes)],
    [t("complaints"), of.complaints, share(of.complaints)],
    [t("bounces"), of.bounces, share(of.bounces)],
    [t("conversions"), of.conversions.total, of.conversions.lift === null ? undefined : lift(of.conversions.lift)],
  ];
  return (
    <Section title={t("numbers")}>
      <SimpleGrid component="dl" cols={{ base: 2, sm: 4 }} m={0}>
        {tiles.map(([name, n, more]) => (
          <div key={name}>
            <Text component="dt" size="sm" c="dimmed">
              {name}
            </Text>
            <Text component="dd" m={0} fw={600} fz="lg">
              <Count of={n} short />
              {more && (
                <Text component="span" size="xs" c="dimmed" ms={6}>
                  {more}
                </Text>
              )}
            </Text>
          </div>
        ))}
      </SimpleGrid>
    </Section>
  );
}

const lift = (value: number) => `${t("lift")} ${formatPercent(value)}`;

interface Cells {
  title: string;
  heads: readonly string[];
  /** A row: its key, then its cells; the first names it. */
  rows: readonly (readonly [key: string, ...cells: ReactNode[]])[];
}

function Rows({ title, heads, rows }: Cells) {
  if (rows.length === 0) return null;
  return (
    <Section title={title}>
      <Table.ScrollContainer minWidth={0} type="native">
        <Table aria-label={title}>
          <Table.Thead>
            <Table.Tr>
              {heads.map((head) => (
                <Table.Th key={head} scope="col">
                  {head}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map(([key, ...cells]) => (
              <Table.Tr key={key}>
                {cells.map((cell, index) => (
                  <Table.Td key={heads[index]} style={{ overflowWrap: "anywhere" }}>
                    {cell}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Section>
  );
}

const count = (n: number) => <Count of={n} />;

interface Linked {
  id: string;
  /** Whose recipients the links lead to; the latest if it is empty. */
  occurrence: string;
  of: Overview;
}

function Recipients({
  id,
  search,
  children,
}: {
  id: string;
  search: Record<string, string | number>;
  children: ReactNode;
}) {
  const wanted = Object.fromEntries(Object.entries(search).filter(([, value]) => value !== ""));
  return (
    <Anchor component={Link} to="/campaigns/$id/recipients" params={{ id } as never} search={wanted as never}>
      {children}
    </Anchor>
  );
}

export function Failures({ id, occurrence, of }: Linked) {
  return (
    <Rows
      title={t("failures")}
      heads={[t("code"), t("meaning"), t("count")]}
      rows={of.failed.map(({ code, name, meaning, count: n }) => [
        String(code),
        <Recipients key="code" id={id} search={{ occurrence, status: "failed", code }}>
          {code} {name}
        </Recipients>,
        meaning,
        count(n),
      ])}
    />
  );
}

export function Reasons({ id, occurrence, of }: Linked) {
  const all = [
    ...of.held.map((one) => ({ ...one, status: "held" })),
    ...of.skipped.map((one) => ({ ...one, status: "skipped" })),
  ];
  return (
    <Rows
      title={t("reasons")}
      heads={[t("reason"), t("status"), t("count")]}
      rows={all.map(({ reason, status, count: n }) => [
        `${status} ${reason}`,
        <Recipients key="reason" id={id} search={{ occurrence, status, reason }}>
          {words(reason)}
        </Recipients>,
        status,
        count(n),
      ])}
    />
  );
}

export function Links({ of }: { of: Overview }) {
  return (
    <Rows
      title={t("links")}
      heads={[t("link"), t("people"), t("total")]}
      rows={of.clicks.links.map(({ url, unique, total }) => [url, url, count(unique), count(total)])}
    />
  );
}

export function Variants({ of }: { of: Overview }) {
  if (of.variants.length < 2) return null;
  const rate = (n: number, sent: number) => (sent > 0 ? formatPercent(n / sent) : "–");
  return (
    <Rows
      title={t("variants")}
      heads={[t("variants"), t("sent"), t("delivered"), t("failed"), t("opens"), t("clicks"), t("conversions")]}
      rows={of.variants.map(({ variant, sent, delivered, failed, opens, clicks, conversions }) => [
        variant,
        variant,
        count(sent),
        count(delivered),
        count(failed),
        rate(opens, sent),
        rate(clicks, sent),
        rate(conversions, sent),
      ])}
    />
  );
}
