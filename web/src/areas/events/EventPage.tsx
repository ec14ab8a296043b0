/** The page /events/$id: one event as it is stored. */
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { eventQuery } from "@/api/events";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { CopyButton } from "@/parts/CopyButton";
import { Details } from "@/parts/Details";
import { Json } from "@/parts/Json";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { EventTabs } from "./EventTabs";
import { Person } from "./Person";
import { t } from "./texts";

export function EventPage() {
  const { id } = useParams({ from: "/app/events/$id" });
  const query = useQuery(eventQuery(id));
  return (
    <Page
      title={query.data ? t("eventTitle", { type: query.data.type }) : t("title")}
      area={t("title")}
      actions={<CopyAsCurl path={`/v1/events/${id}`} />}
    >
      <EventTabs />
      <States query={query}>
        {(event) => (
          <>
            <Details
              rows={[
                [t("occurred"), <Time key="occurred" at={event.occurred_at} exact />],
                [t("received"), <Time key="received" at={event.received_at} exact />],
                [t("person"), <Person key="person" id={event.profile_id} person={event.person} />],
                [
                  t("id"),
                  <>
                    {event.id} <CopyButton text={event.id} what={t("id")} />
                  </>,
                ],
                [t("messageId"), event.message_id],
              ]}
            />
            <Json label={t("raw")} value={event} />
          </>
        )}
      </States>
    </Page>
  );
}
