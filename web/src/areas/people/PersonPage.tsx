/** One person: who they are, what they agreed to, and what happened. */
import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { erasePerson, exportPerson, type Person, personQuery } from "@/api/people";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { CopyButton } from "@/parts/CopyButton";
import { Details, Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { download } from "@/parts/download";
import { Page } from "@/parts/Page";
import { personName } from "@/parts/personName";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useLive } from "@/parts/useLive";
import { Lists } from "./Lists";
import { Subscriptions } from "./Subscriptions";
import { Tags } from "./Tags";
import { Timeline } from "./Timeline";
import { Traits } from "./Traits";
import { t } from "./texts";

export function PersonPage() {
  const { id } = useParams({ from: "/app/people/$id" });
  const person = useQuery(personQuery(id));
  const may = useMay();
  useLive(["people", id]);
  return (
    <Page
      title={person.data ? personName(person.data) : id}
      area={t("title")}
      actions={
        <>
          <CopyAsCurl path={`/v1/profiles/${id}`} />
          {may("messages.read") && person.data && (
            <Button
              variant="default"
              renderRoot={(props) => <Link to="/messages" search={{ profile_id: id } as never} {...props} />}
            >
              {t("messages")}
            </Button>
          )}
          {person.data && <Export id={id} />}
          {may("people.write") && person.data && <Erase person={person.data} />}
        </>
      }
    >
      <States query={person}>
        {(one) => (
          <>
            <Identifiers person={one} />
            <Traits key={one.updated_at} person={one} />
            <Subscriptions person={one} />
            <Tags person={one} />
            <Lists person={one} />
            <Timeline id={id} />
          </>
        )}
      </States>
    </Page>
  );
}

function Identifiers({ person }: { person: Person }) {
  const all = (values: string[]) =>
    values.length === 0
      ? undefined
      : values.map((value) => (
          <div key={value}>
            {value} <CopyButton text={value} what={value} />
          </div>
        ));
  return (
    <Section title={t("identifiers")}>
      <Details
        rows={[
          [t("email"), all(person.emails)],
          [t("phone"), all(person.phones)],
          [t("userId"), all(person.user_ids)],
          [t("anonymousIds"), all(person.anonymous_ids)],
          [t("id"), all([person.id])],
          [t("merged"), all(person.merged_ids)],
          [t("created"), <Time key="created" at={person.created_at} exact />],
          [t("changed"), <Time key="changed" at={person.updated_at} exact />],
        ]}
      />
    </Section>
  );
}

function Export({ id }: { id: string }) {
  const get = useMutation({
    mutationFn: () => exportPerson(id),
    onSuccess: (text) => download(`${id}.json`, text as unknown as string, "application/json"),
    onError: toastError,
  });
  return (
    <Button variant="default" onClick={() => get.mutate()} loading={get.isPending} title={t("exportHint")}>
      {t("export")}
    </Button>
  );
}

function Erase({ person }: { person: Person }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const name = personName(person);
  const erase = useMutation({
    mutationFn: () => erasePerson(person.id),
    onSuccess: () => {
      toast(t("erased", { name }));
      queries.removeQueries({ queryKey: ["people"] });
      void navigate({ to: "/people" });
    },
    onError: toastError,
  });

  async function ask() {
    const question = { title: t("eraseQuestion", { name }), body: t("eraseBody"), action: t("erase") };
    if (await confirm({ ...question, danger: true, typed: name })) erase.mutate();
  }

  return (
    <Button variant="default" c="red" onClick={() => void ask()} loading={erase.isPending}>
      {t("erase")}
    </Button>
  );
}
