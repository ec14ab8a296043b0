/** All people, found by what an identifier begins with, or by a trait. */
import { Anchor, Badge, Button, Group } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "@/api/me";
import { type Person, peopleQuery } from "@/api/people";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { FilterBar, TextFilter } from "@/parts/FilterBar";
import { type Column, Listing } from "@/parts/Listing";
import { personName } from "@/parts/personName";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { AddPerson } from "./AddPerson";
import { PeopleFrame } from "./PeopleFrame";
import { t } from "./texts";

const COLUMNS: Column<Person>[] = [
  {
    id: "person",
    title: t("person"),
    cell: (one) => (
      <Anchor component={Link} to="/people/$id" params={{ id: one.id } as never}>
        {personName(one)}
      </Anchor>
    ),
  },
  { id: "phone", title: t("phone"), cell: ({ phone }) => phone ?? "–", wide: true },
  { id: "user", title: t("userId"), cell: ({ user_id: user }) => user ?? "–", wide: true },
  {
    id: "tags",
    title: t("tags"),
    cell: ({ tags }) => (
      <Group gap={4}>
        {tags.slice(0, 4).map((tag) => (
          <Badge key={tag} variant="light" color="gray" tt="none">
            {tag}
          </Badge>
        ))}
      </Group>
    ),
    wide: true,
  },
  { id: "created", title: t("created"), cell: (one) => <Time at={one.created_at} /> },
];

export function PeoplePage() {
  const filters = useFilters("query", "trait", "value");
  // A trait is searched for by its value: without one there is nothing to ask.
  const { query, trait, value } = filters.query;
  const asked = { ...(trait && value ? { trait, value } : query ? { query } : {}), after: filters.after };
  const people = useQuery(peopleQuery(asked));
  const may = useMay()("people.write");
  const [adding, setAdding] = useState(false);
  useLive(["people", "list"]);
  const add = may && !adding && <Button onClick={() => setAdding(true)}>{t("addPerson")}</Button>;
  return (
    <PeopleFrame
      title={t("title")}
      actions={
        <>
          <CopyAsCurl path="/v1/profiles" query={asked} />
          {add}
        </>
      }
    >
      {adding && <AddPerson close={() => setAdding(false)} />}
      <FilterBar>
        <TextFilter
          label={t("search")}
          placeholder={t("searchHint")}
          value={filters.values.query}
          onChange={(typed) => filters.set("query", typed)}
        />
        <TextFilter label={t("trait")} value={filters.values.trait} onChange={(typed) => filters.set("trait", typed)} />
        <TextFilter label={t("value")} value={filters.values.value} onChange={(typed) => filters.set("value", typed)} />
      </FilterBar>
      <Listing
        label={t("title")}
        query={people as never}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{
          title: t("noPeople"),
          hint: t("noPeopleHint"),
          children: add || undefined,
          example: curl({
            method: "POST",
            path: "/v1/profiles",
            body: { email: "ada@example.com", traits: { plan: "pro" } },
          }),
        }}
        clearFilters={filters.clear}
      />
    </PeopleFrame>
  );
}
