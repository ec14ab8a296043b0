/** One person: who they are, what they agreed to, and what happened. */
import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "@/api/me";
import { erasePerson, exportPerson, type Person, personQuery } from "@/api/people";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { confirm } from "@/parts/dialogs";
import { download } from "@/parts/download";
import { Edited } from "@/parts/Edited";
import { Page } from "@/parts/Page";
import { personName } from "@/parts/personName";
import { States } from "@/parts/States";
import { toast, toastError } from "@/parts/toasts";
import { useLive } from "@/parts/useLive";
import { Identifiers } from "./Identifiers";
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
  useLive(["people", id], ["suppressions"]);
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
            <Known person={one} />
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

/** What can be typed on the page: it stays while events of the person come in, and says when they changed it. */
function Known({ person }: { person: Person }) {
  const [adding, setAdding] = useState(false);
  const [changing, setChanging] = useState(false);
  return (
    <Edited key={person.id} data={person} theirs={({ traits }) => traits}>
      {(one) => (
        <>
          <Identifiers person={one} changing={adding} setChanging={setAdding} />
          <Traits person={one} changing={changing} setChanging={setChanging} />
        </>
      )}
    </Edited>
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
