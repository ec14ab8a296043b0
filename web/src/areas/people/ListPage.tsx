/** One list: its numbers, and its members by state. */
import { Anchor, Button, Group, Stack, Textarea } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import {
  addMembers,
  changeList,
  deleteList,
  type List,
  listQuery,
  type Member,
  membersQuery,
  removeMember,
} from "@/api/lists";
import { useMay } from "@/api/me";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { DeleteButton } from "@/parts/DeleteButton";
import { Details, Section } from "@/parts/Details";
import { Edited, useEdit } from "@/parts/Edited";
import { FilterBar, SelectFilter } from "@/parts/FilterBar";
import { FormProblem } from "@/parts/FormProblem";
import { type Column, Listing } from "@/parts/Listing";
import { personName } from "@/parts/personName";
import { States } from "@/parts/States";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { useForm } from "@/parts/useForm";
import { useLive } from "@/parts/useLive";
import { ListForm } from "./ListForm";
import { PeopleFrame } from "./PeopleFrame";
import { t } from "./texts";

export function ListPage() {
  const { id } = useParams({ from: "/app/people/lists/$id" });
  const list = useQuery(listQuery(id));
  const filters = useFilters("state");
  const members = useQuery(membersQuery(id, { ...filters.query, after: filters.after }));
  const may = useMay()("people.write");
  const [adding, setAdding] = useState(false);
  const [changing, setChanging] = useState(false);
  useLive(["lists", id]);
  const columns: Column<Member>[] = [
    {
      id: "person",
      title: t("person"),
      cell: (one) => (
        <Anchor component={Link} to="/people/$id" params={{ id: one.profile_id } as never}>
          {personName(one)}
        </Anchor>
      ),
    },
    { id: "state", title: t("state"), cell: ({ state }) => <Status value={state} /> },
    { id: "source", title: t("source"), cell: ({ source }) => source, wide: true },
    { id: "since", title: t("changedAt"), cell: (one) => <Time at={one.changed_at} />, wide: true },
    ...(may ? [{ id: "remove", title: "", cell: (one: Member) => <Remove list={id} member={one} /> }] : []),
  ];
  return (
    <PeopleFrame
      title={list.data?.name ?? id}
      actions={
        <>
          <CopyAsCurl path={`/v1/lists/${id}/members`} query={filters.query} />
          {may && !adding && <Button onClick={() => setAdding(true)}>{t("addMembers")}</Button>}
          {may && list.data && <Delete list={list.data} />}
        </>
      }
    >
      {adding && <AddMembers id={id} close={() => setAdding(false)} />}
      <States query={list}>
        {(found) => (
          <Edited key={id} data={found} theirs={settingsOf}>
            {(one) => <Settings list={one} changing={changing} setChanging={setChanging} />}
          </Edited>
        )}
      </States>
      <FilterBar>
        <SelectFilter
          label={t("state")}
          value={filters.values.state}
          onChange={(value) => filters.set("state", value)}
          options={["subscribed", "pending", "unsubscribed"]}
        />
      </FilterBar>
      <Listing
        label={t("members")}
        query={members}
        columns={columns}
        rowKey={(one) => one.profile_id}
        empty={{ title: t("noMembers"), hint: t("noMembersHint") }}
        clearFilters={filters.clear}
      />
    </PeopleFrame>
  );
}

const settingsOf = ({ name, double_opt_in, template_id }: List) => ({ name, double_opt_in, template_id });

interface SettingsProps {
  list: List;
  changing: boolean;
  setChanging: (changing: boolean) => void;
}

function Settings({ list, changing, setChanging }: SettingsProps) {
  const queries = useQueryClient();
  const may = useMay()("people.write");
  const { version, saved } = useEdit();
  return (
    <Section
      title={t("aboutList")}
      actions={
        may &&
        !changing && (
          <Button variant="default" size="xs" onClick={() => setChanging(true)}>
            {t("edit")}
          </Button>
        )
      }
    >
      {changing ? (
        <ListForm
          label={t("aboutList")}
          action={t("save")}
          start={settingsOf(list)}
          send={(values) => changeList(list.id, values, version)}
          done={(changed) => {
            toast(t("saved"));
            saved(changed.updated_at);
            setChanging(false);
            void queries.invalidateQueries({ queryKey: ["lists"] });
          }}
          close={() => setChanging(false)}
        />
      ) : (
        <Details
          rows={[
            [t("subscribed"), <Count key="on" of={list.members.subscribed} />],
            [t("pending"), <Count key="pending" of={list.members.pending} />],
            [t("unsubscribed"), <Count key="off" of={list.members.unsubscribed} />],
            [t("doubleOptIn"), t(list.double_opt_in ? "yes" : "no")],
            [
              t("confirmation"),
              list.double_opt_in ? (
                list.template_id ? (
                  <Anchor key="mail" component={Link} to={`/templates/${list.template_id}` as "/templates"}>
                    {list.template_id}
                  </Anchor>
                ) : (
                  t("confirmationOwn")
                )
              ) : undefined,
            ],
          ]}
        />
      )}
    </Section>
  );
}

function Remove({ list, member }: { list: string; member: Member }) {
  const queries = useQueryClient();
  const name = personName(member);
  const remove = useMutation({
    mutationFn: () => removeMember(list, member.profile_id, false),
    onSuccess: () => {
      toast(t("removed", { name }), {
        undo: () =>
          void addMembers(list, [{ profile_id: member.profile_id }]).then(
            () => queries.invalidateQueries({ queryKey: ["lists"] }),
            toastError,
          ),
      });
      void queries.invalidateQueries({ queryKey: ["lists"] });
    },
    onError: toastError,
  });
  return (
    <Button
      size="xs"
      variant="default"
      aria-label={t("removeOf", { name })}
      onClick={() => remove.mutate()}
      loading={remove.isPending}
    >
      {t("remove")}
    </Button>
  );
}

/** Says how a line names a person: an address, a number, or an id of the sender's own. */
function readPerson(line: string) {
  if (line.includes("@")) return { email: line };
  return /^(\+|00)[\d ().-]{6,}$/.test(line) ? { phone: line } : { user_id: line };
}

function AddMembers({ id, close }: { id: string; close: () => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: { people: "" },
    send: ({ people }) =>
      addMembers(
        id,
        people
          .split("\n")
          .map((line) => line.trim())
          .filter(Boolean)
          .map(readPerson),
      ),
    done: ({ changed, unknown }) => {
      toast(t("added", { n: changed, unknown }));
      void queries.invalidateQueries({ queryKey: ["lists"] });
      close();
    },
  });
  return (
    <Section title={t("addMembers")}>
      <form {...form.form} aria-label={t("addMembers")}>
        <Stack maw={520}>
          <Textarea {...form.field("people")} label={t("addresses")} description={t("addressesHint")} rows={6} />
          <FormProblem problem={form.problem} />
          <Group>
            <Button type="submit" loading={form.pending} disabled={!form.values.people.trim()}>
              {t("add")}
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

function Delete({ list: { id, name, members } }: { list: List }) {
  const n = members.subscribed + members.pending + members.unsubscribed;
  return (
    <DeleteButton
      label={t("deleteList")}
      question={{
        title: t("deleteListQuestion", { name }),
        body: t("deleteListBody", { n }),
        action: t("delete"),
        typed: n > 0 ? name : undefined,
      }}
      remove={() => deleteList(id)}
      done={t("listDeleted", { name })}
      to="/people/lists"
      queryKey={["lists", id]}
    />
  );
}
