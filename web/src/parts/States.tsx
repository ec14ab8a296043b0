/** The looks of whatever a query loads: loading, empty, nothing found, error, stale, and the data itself. */
import { Alert, Button, Skeleton, Stack, Text } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { Problem } from "@/api/problem";
import { formatRelative } from "@/locales/format";
import { Empty, type EmptyProps } from "./Empty";
import { t } from "./texts";
import { useNow } from "./useNow";

interface Props<Data> {
  query: Pick<
    UseQueryResult<Data>,
    "data" | "error" | "isError" | "isPending" | "dataUpdatedAt" | "refetch" | "isFetching"
  >;
  children: (data: Data) => ReactNode;
  /** Whether the data is an empty list. By default that of `{ data: [] }`. */
  isEmpty?: (data: Data) => boolean;
  /** What an empty list says when nothing was ever made. */
  empty?: EmptyProps;
  /** Given when filters are set: an empty list then says that nothing fits them. */
  clearFilters?: () => void;
  /** The shape of the data while it loads; by default some lines. */
  skeleton?: ReactNode;
}

export function States<Data>({ query, children, isEmpty = hasNoRows, empty, clearFilters, skeleton }: Props<Data>) {
  const { data, error, isError, isPending, dataUpdatedAt, refetch, isFetching } = query;
  if (isPending) return <Loading>{skeleton}</Loading>;
  if (data === undefined) return <Failed error={error} retry={() => void refetch()} busy={isFetching} />;
  return (
    <>
      {isError && <Stale since={dataUpdatedAt} />}
      {!isEmpty(data) ? (
        children(data)
      ) : clearFilters ? (
        <Empty title={t("nothingFound")}>
          <Button variant="default" onClick={clearFilters}>
            {t("clearFilters")}
          </Button>
        </Empty>
      ) : empty ? (
        <Empty {...empty} />
      ) : (
        children(data)
      )}
    </>
  );
}

function hasNoRows(data: unknown): boolean {
  const rows = (data as { data?: unknown } | null)?.data;
  return Array.isArray(rows) && rows.length === 0;
}

/** Shows nothing for a moment: what loads at once does not flicker. */
export function Loading({ children }: { children?: ReactNode }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 150);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div aria-busy="true" style={{ visibility: late ? "visible" : "hidden" }}>
      <span className="visually-hidden">{t("loading")}</span>
      {children ?? (
        <Stack gap="sm" aria-hidden>
          {["92%", "78%", "85%", "60%"].map((width) => (
            <Skeleton key={width} height={18} width={width} />
          ))}
        </Stack>
      )}
    </div>
  );
}

export function Failed({ error, retry, busy }: { error: unknown; retry: () => void; busy?: boolean }) {
  const problem = error instanceof Problem ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return (
    <Alert color="red" role="alert" title={t("errorTitle")}>
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{problem ? problem.detail : t("unexpected", { message })}</Text>
        {problem?.requestId && (
          <Text size="xs" c="dimmed">
            {t("requestId", { id: problem.requestId })}
          </Text>
        )}
        <Button size="xs" variant="default" onClick={retry} loading={busy}>
          {t("tryAgain")}
        </Button>
      </Stack>
    </Alert>
  );
}

function Stale({ since }: { since: number }) {
  const now = useNow();
  return (
    <Text size="sm" c="dimmed" role="status">
      {t("stale", { ago: formatRelative(new Date(since), now) })}
    </Text>
  );
}
