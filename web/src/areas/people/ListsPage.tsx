/** All lists, with how many people are on each. */
import { Anchor, Button, Checkbox, Group, Stack, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { createList, type List, listsQuery } from "@/api/lists";
import { useMay } from "@/api/me";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { type Column, Listing } from "@/parts/Listing";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useForm } from "@/parts/useForm";
import { useLive } from "@/parts/useLive";
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
  return (
    <PeopleFrame
      title={t("lists")}
      actions={
        <>
          <CopyAsCurl path="/v1/lists" />
          {may && !making && <Button onClick={() => setMaking(true)}>{t("newList")}</Button>}
        </>
      }
    >
      {making && <NewList close={() => setMaking(false)} />}
      <Listing
        label={t("lists")}
        query={lists}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{ title: t("noListsYet"), hint: t("noListsHint") }}
      />
    </PeopleFrame>
  );
}

function NewList({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const form = useForm({
    initial: { name: "", double_opt_in: false },
    send: createList,
    done: ({ id }) => {
      void queries.invalidateQueries({ queryKey: ["lists"] });
      void navigate({ to: "/people/lists/$id", params: { id } });
    },
  });
  const twice = form.field("double_opt_in");
  return (
    <Section title={t("newList")}>
      <form {...form.form} aria-label={t("newList")}>
        <Stack maw={420}>
          <TextInput {...form.field("name")} label={t("name")} required withAsterisk={false} maxLength={200} />
          <Checkbox
            label={t("doubleOptIn")}
            description={t("doubleOptInHint")}
            checked={form.values.double_opt_in}
            onChange={twice.onChange}
            error={twice.error}
          />
          <FormProblem problem={form.problem} />
          <Group>
            <Button type="submit" loading={form.pending}>
              {t("createList")}
            </Button>
            <Button variant="default" onClick={close}>
              {t("cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
