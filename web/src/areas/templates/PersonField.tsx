/** Chooses the person whom a preview is for, by an identifier. */
import { Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useMay } from "@/api/me";
import { peopleQuery } from "@/api/people";
import { t } from "./texts";

const WAIT_MS = 400;

export function PersonField({ change }: { change: (id: string | undefined) => void }) {
  const [typed, setTyped] = useState("");
  const [asked, setAsked] = useState("");
  const may = useMay()("people.read");
  useEffect(() => {
    const timer = setTimeout(() => setAsked(typed.trim()), WAIT_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  const found = useQuery({ ...peopleQuery({ query: asked }), enabled: may && asked !== "" });
  const person = asked === "" ? undefined : found.data?.data[0];
  const id = person?.id;
  // biome-ignore lint/correctness/useExhaustiveDependencies: only another person is another preview.
  useEffect(() => change(id), [id]);
  if (!may) return null;
  return (
    <div>
      <TextInput
        label={t("person")}
        description={t("personHint")}
        value={typed}
        onChange={(event) => setTyped(event.currentTarget.value)}
      />
      {asked !== "" && found.data && (
        <Text size="sm" role="status" mt={4}>
          {person
            ? t("personShown", { name: person.email ?? person.phone ?? person.user_id ?? person.id })
            : t("personUnknown")}
        </Text>
      )}
    </div>
  );
}
