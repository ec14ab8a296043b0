/** All lists, with how many people are on each. */
import { Anchor, Button } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { createList, type List, listsQuery } from "@/api/lists";
import { useMay } from "@/api/me";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { type Column, Listing } from "@/parts/Listing";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { ListForm } from "./ListForm";
import { PeopleFrame } from "./PeopleFrame";
import { t } from "./texts";

const COLUMNS: Column<List>[] = [
  {
    id: "name",
    title: t("list"),
    cell: ({ id, name }) => (
      <Anchor component={Link} to="/people/lists/$id" params={{ id } as never}>
        {name}
      </Anchor>
    ),
  },
  { id: "on", title: t("subscribed"), cell: ({ members }) => <Count of={members.subscribed} />, numeric: true },
  {
    id: "pending",
    title: t("pending"),
    cell: ({ members }) => <Count of={members.pending} />,
    numeric: true,
    wide: true,
  },
  {
    id: "off",
    title: t("unsubscribed"),
    cell: ({ members }) => <Count of={members.unsubscribed} />,
    numeric: true,
    wide: true,
  },
  { id: "opt", title: t("doubleOptIn"), cell: (list) => t(list.double_opt_in ? "yes" : "no"), wide: true },
  { id: "created", title: t("created"), cell: (list) => <Time at={list.created_at} />, wide: true },
];

export function ListsPage() {
  const { after } = useFilters();
  const lists = useQuery(listsQuery(after));
  const may = useMay()("people.write");
  const [making, setMaking] = useState(false);
  useLive(["lists"]);
  const make = may && !making && <Button onClick={() => setMaking(true)}>{t("newList")}</Button>;
  return (
    <PeopleFrame
      title={t("lists")}
      actions={
        <>
          <CopyAsCurl path="/v1/lists" />
          {make}
        </>
      }
    >
      {making && <NewList close={() => setMaking(false)} />}
      <Listing
        label={t("lists")}
        query={lists}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{
          title: t("noListsYet"),
          hint: t("noListsHint"),
          children: make || undefined,
          example: curl({ method: "POST", path: "/v1/lists", body: { name: "News", double_opt_in: true } }),
        }}
      />
    </PeopleFrame>
  );
}

const EMPTY = { name: "", double_opt_in: false, template_id: null };

function NewList({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  return (
    <Section title={t("newList")}>
      <ListForm
        label={t("newList")}
        action={t("createList")}
        start={EMPTY}
        send={createList}
        done={({ id }) => {
          void queries.invalidateQueries({ queryKey: ["lists"] });
          void navigate({ to: "/people/lists/$id", params: { id }, ignoreBlocker: true });
        }}
        close={close}
      />
    </Section>
  );
}
