/** Addresses to which nothing is sent: why each is one, and which may get messages again. */
import { Anchor, Button, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "@/api/me";
import { type Suppression, suppressionsQuery, unsuppress } from "@/api/suppressions";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { confirm } from "@/parts/dialogs";
import { FilterBar, SelectFilter, TextFilter } from "@/parts/FilterBar";
import { type Column, Listing } from "@/parts/Listing";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { PeopleFrame } from "./PeopleFrame";
import { SuppressForm } from "./SuppressForm";
import { CHANNELS, reasonOf } from "./suppressions";
import { t } from "./texts";

export function SuppressionsPage() {
  const filters = useFilters("address", "channel");
  const asked = { ...filters.query, after: filters.after };
  const suppressions = useQuery(suppressionsQuery(asked));
  const may = useMay();
  const [adding, setAdding] = useState(false);
  useLive(["suppressions"]);
  const add = may("people.write") && !adding && <Button onClick={() => setAdding(true)}>{t("suppress")}</Button>;
  const columns: Column<Suppression>[] = [
    {
      id: "address",
      title: t("address"),
      cell: ({ address }) => (
        <Anchor component={Link} to="/people" search={{ query: address } as never} style={{ overflowWrap: "anywhere" }}>
          {address}
        </Anchor>
      ),
    },
    { id: "channel", title: t("channel"), cell: ({ channel }) => channel },
    {
      id: "reason",
      title: t("why"),
      cell: (one) => (
        <>
          {reasonOf(one)}
          {one.detail && (
            <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
              {one.detail}
            </Text>
          )}
        </>
      ),
    },
    {
      id: "from",
      title: t("reportedBy"),
      cell: ({ connection_id: id }) =>
        id === null ? (
          t("byHand")
        ) : may("connections.read") ? (
          <Anchor component={Link} to={`/connections/${id}` as "/connections"}>
            {t("aConnection")}
          </Anchor>
        ) : (
          t("aConnection")
        ),
      wide: true,
    },
    { id: "since", title: t("since"), cell: (one) => <Time at={one.created_at} />, wide: true },
    ...(may("people.write") ? [{ id: "lift", title: "", cell: (one: Suppression) => <Lift suppression={one} /> }] : []),
  ];
  return (
    <PeopleFrame
      title={t("suppressions")}
      actions={
        <>
          <CopyAsCurl path="/v1/suppressions" query={asked} />
          {add}
        </>
      }
    >
      {adding && <SuppressForm close={() => setAdding(false)} />}
      <FilterBar>
        <TextFilter
          label={t("address")}
          placeholder={t("wholeAddress")}
          value={filters.values.address}
          onChange={(typed) => filters.set("address", typed.trim())}
        />
        <SelectFilter
          label={t("channel")}
          value={filters.values.channel}
          onChange={(value) => filters.set("channel", value)}
          options={CHANNELS}
        />
      </FilterBar>
      <Listing
        label={t("suppressions")}
        query={suppressions}
        columns={columns}
        rowKey={({ channel, address }) => `${channel} ${address}`}
        empty={{ title: t("noSuppressions"), hint: t("noSuppressionsHint"), children: add || undefined }}
        clearFilters={filters.clear}
      />
    </PeopleFrame>
  );
}

function Lift({ suppression }: { suppression: Suppression }) {
  const { channel, address } = suppression;
  const queries = useQueryClient();
  const lift = useMutation({
    mutationFn: () => unsuppress(channel, address),
    onSuccess: () => {
      toast(t("lifted", { address }));
      void queries.invalidateQueries({ queryKey: ["suppressions"] });
    },
    onError: toastError,
  });

  async function ask() {
    const reason = reasonOf(suppression);
    const question = { title: t("liftQuestion", { address }), body: t("liftBody", { reason }), action: t("lift") };
    if (await confirm(question)) lift.mutate();
  }

  return (
    <Button
      size="xs"
      variant="default"
      aria-label={t("liftOf", { address, channel })}
      onClick={() => void ask()}
      loading={lift.isPending}
    >
      {t("lift")}
    </Button>
  );
}
