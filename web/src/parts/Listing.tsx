/** A list of the API as a table, by pages: `j` and `k` walk the rows, Enter opens one. */
import { Button, Group, Table } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import { useNavigate, useRouterState } from "@tanstack/react-router";
import { type ReactNode, useRef } from "react";
import type { EmptyProps } from "./Empty";
import classes from "./Listing.module.css";
import { States } from "./States";
import { t } from "./texts";
import { useKey } from "./useKeys";

export interface Column<Row> {
  id: string;
  title: string;
  /** The first column has the link that opens the row. */
  cell: (row: Row) => ReactNode;
  numeric?: boolean;
  /** Left out where there is no room. */
  wide?: boolean;
}

export interface Page<Row> {
  data: Row[];
  next?: string | null;
}

interface Props<Row> {
  /** The name of the table: "Webhook endpoints". */
  label: string;
  query: UseQueryResult<Page<Row>>;
  columns: readonly Column<Row>[];
  rowKey: (row: Row, position: number) => string;
  empty: EmptyProps;
  /** From `useFilters`. */
  clearFilters?: () => void;
}

declare module "@tanstack/react-router" {
  interface HistoryState {
    /** The places of the pages before, so that "Newer" finds them. */
    trail?: string[];
  }
}

export function Listing<Row>({ label, query, columns, rowKey, empty, clearFilters }: Props<Row>) {
  const body = useRef<HTMLTableSectionElement>(null);
  const step = (by: number) => {
    const links = [...(body.current?.querySelectorAll<HTMLElement>("tr") ?? [])].flatMap(
      (row) => row.querySelector<HTMLElement>("a, button") ?? [],
    );
    const at = links.findIndex((link) => link.closest("tr")?.contains(document.activeElement));
    links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
  };
  useKey("j", () => step(1));
  useKey("k", () => step(-1));
  return (
    <States query={query} empty={empty} clearFilters={clearFilters}>
      {({ data, next }) => (
        <>
          <Table.ScrollContainer minWidth={0} type="native" role="group" aria-label={label} tabIndex={0}>
            <Table aria-label={label} highlightOnHover verticalSpacing="xs" className={classes.table}>
              <Table.Thead>
                <Table.Tr>
                  {columns.map(({ id, title, numeric, wide }) =>
                    title ? (
                      <Table.Th key={id} scope="col" className={cell(numeric, wide)}>
                        {title}
                      </Table.Th>
                    ) : (
                      <Table.Td key={id} className={cell(numeric, wide)} />
                    ),
                  )}
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody ref={body}>
                {/* Plain elements: hundreds of cells of a component library are felt when a page opens. */}
                {data.map((row, position) => (
                  <tr key={rowKey(row, position)} className={classes.row}>
                    {columns.map(({ id, cell: show, numeric, wide }) => (
                      <td key={id} className={cell(numeric, wide)}>
                        {show(row)}
                      </td>
                    ))}
                  </tr>
                ))}
              </Table.Tbody>
            </Table>
          </Table.ScrollContainer>
          <Paging label={label} next={next ?? undefined} />
        </>
      )}
    </States>
  );
}

const cell = (numeric?: boolean, wide?: boolean) =>
  [numeric && "numeric", wide && classes.wide].filter(Boolean).join(" ") || undefined;

/** Links to the next and previous page. The place stands in the address; the way back in the state of the history. */
export function Paging({ label, next }: { label: string; next: string | undefined }) {
  const navigate = useNavigate();
  const after = useRouterState({ select: ({ location }) => (location.search as { after?: string }).after });
  const trail = useRouterState({ select: ({ location }) => location.state.trail }) ?? [];
  if (!after && !next) return null;

  function go(to: string | undefined, nextTrail: string[]) {
    void navigate({
      to: ".",
      search: ((before: Record<string, unknown>) => ({ ...before, after: to })) as never,
      state: (before) => ({ ...before, trail: nextTrail }),
    });
  }

  return (
    <Group component="nav" aria-label={t("paging", { label })} justify="flex-end" gap="xs">
      <Button variant="default" size="xs" disabled={!after} onClick={() => go(undefined, [])}>
        {t("newest")}
      </Button>
      <Button
        variant="default"
        size="xs"
        disabled={!after}
        onClick={() => go(trail.at(-1) || undefined, trail.slice(0, -1))}
      >
        {t("newer")}
      </Button>
      <Button variant="default" size="xs" disabled={!next} onClick={() => go(next, [...trail, after ?? ""])}>
        {t("older")}
      </Button>
    </Group>
  );
}
