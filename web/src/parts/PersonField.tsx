/** Chooses the person whom a preview is for: by an identifier, or one of some who are named. */
import { Button, Group, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useEffect, useState } from "react";
import { useMay } from "@/api/me";
import { peopleQuery } from "@/api/people";
import { t } from "./texts";

const WAIT_MS = 400;

interface Props {
  change: (id: string | undefined) => void;
  /** People to choose from without typing. */
  samples?: readonly { id: string; name: string }[];
}

export function PersonField({ change, samples = [] }: Props) {
  const [typed, setTyped] = useState("");
  const [asked, setAsked] = useState("");
  const [sample, setSample] = useState<Required<Props>["samples"][number]>();
  const may = useMay()("people.read");
  useEffect(() => {
    const timer = setTimeout(() => setAsked(typed.trim()), WAIT_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  const found = useQuery({ ...peopleQuery({ query: asked }), enabled: may && asked !== "" && !sample });
  const person = asked === "" ? undefined : found.data?.data[0];
  const id = sample?.id ?? person?.id;
  const name = sample?.name ?? person?.email ?? person?.phone ?? person?.user_id ?? person?.id;
  // biome-ignore lint/correctness/useExhaustiveDependencies: only another person is another preview.
  useEffect(() => change(id), [id]);
  if (!may) return null;
  return (
    <div>
      <TextInput
        label={t("person")}
        description={t("personHint")}
        value={typed}
        onChange={(event) => {
          setTyped(event.currentTarget.value);
          setSample(undefined);
        }}
        // The field is no part of a form around it: Enter would save that.
        onKeyDown={(event: KeyboardEvent) => event.key === "Enter" && event.preventDefault()}
        maw={420}
      />
      {samples.length > 0 && (
        <Group gap={6} mt={6} role="group" aria-label={t("samplePeople")}>
          {samples.map((one) => (
            <Button
              key={one.id}
              size="compact-xs"
              variant="default"
              aria-pressed={one.id === id}
              onClick={() => {
                setTyped("");
                setSample(one);
              }}
            >
              {one.name}
            </Button>
          ))}
        </Group>
      )}
      {(sample || (asked !== "" && found.data)) && (
        <Text size="sm" role="status" mt={4}>
          {name === undefined ? t("personUnknown") : t("personShown", { name })}
        </Text>
      )}
    </div>
  );
}
