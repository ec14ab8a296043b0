/** What completion knows: the traits of the latest people, and the properties of the latest events. */
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { eventsQuery } from "@/api/events";
import { useMay } from "@/api/me";
import { peopleQuery } from "@/api/people";
import type { Value } from "./EditorView";
import { propertiesOf } from "./EventField";
import { seenValues } from "./seen";

const FRESH_MS = 300_000;

/** `chosen` is the data of the event that the preview is for; its properties are seen as well. */
export function useSeen(chosen: unknown): Value[] {
  const may = useMay();
  const people = useQuery({ ...peopleQuery({}), enabled: may("people.read"), staleTime: FRESH_MS }).data?.data;
  const events = useQuery({ ...eventsQuery({}), enabled: may("events.read"), staleTime: FRESH_MS }).data?.data;
  return useMemo(
    () => [
      ...seenValues("event", [chosen, ...(events ?? []).map(({ data }) => data)].map(propertiesOf)),
      ...seenValues(
        "person",
        (people ?? []).map(({ traits }) => traits),
      ),
    ],
    [people, events, chosen],
  );
}
