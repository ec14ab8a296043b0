/** The recipients of a campaign, each with what became of the message and why, and all as a CSV file. */
import { Anchor, Button } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { campaignQuery, exportRecipients, type Recipient, recipientsQuery } from "@/api/campaigns";
import { download } from "@/parts/download";
import { FilterBar, SelectFilter, TextFilter } from "@/parts/FilterBar";
import { type Column, Listing } from "@/parts/Listing";
import { Reason } from "@/parts/Reason";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { CampaignFrame } from "./CampaignFrame";
import { OccurrenceField } from "./OccurrenceField";
import { t } from "./texts";
import { words } from "./words";

const STATUSES = ["waiting", "holdout", "queued", "held", "sent", "delivered", "failed", "skipped", "unknown"];

const COLUMNS: Column<Recipient>[] = [
  {
    id: "person",
    title: t("person"),
    cell: ({ profile_id: id, to }) =>
      id ? (
        <Anchor component={Link} to="/people/$id" params={{ id } as never}>
          {to ?? id}
        </Anchor>
      ) : (
        t("deletedPerson")
      ),
  },
  { id: "status", title: t("status"), cell: ({ status }) => <Status value={status} /> },
  {
    id: "reason",
    title: t("reason"),
    cell: ({ code, failure, reason, to }) => (
      <Reason
        code={code}
        text={[failure, reason && words(reason)].filter(Boolean).join(": ")}
        fix={
          reason === "suppressed" &&
          to && (
            <Anchor inherit component={Link} to="/people/suppressions" search={{ address: to } as never}>
              {t("seeSuppression")}
            </Anchor>
          )
        }
      />
    ),
  },
  { id: "variant", title: t("variant"), cell: ({ variant }) => variant ?? t("none"), wide: true },
  { id: "opened", title: t("opened"), cell: (one) => <Time at={one.opened_at} otherwise={t("none")} />, wide: true },
  { id: "clicked", title: t("clicked"), cell: (one) => <Time at={one.clicked_at} otherwise={t("none")} />, wide: true },
  {
    id: "message",
    title: t("message"),
    cell: ({ message_id: id }) =>
      id ? (
        <Anchor component={Link} to={`/messages/${id}` as "/messages"}>
          {id}
        </Anchor>
      ) : (
        t("none")
      ),
    wide: true,
  },
];

/** The codes of failures; 0 stands for all. */
const CODE = /^[1-9]\d{0,4}$/;

export function RecipientsPage() {
  const { id } = useParams({ from: "/app/campaigns/$id/recipients" });
  const filters = useFilters("status", "reason", "code");
  const chosen = useFilters("occurrence");
  const { status, reason, code } = filters.query;
  const { occurrence } = chosen.query;
  const known = !code || CODE.test(code);
  const asked = { occurrence_id: occurrence, status, reason, code: code && known ? Number(code) : undefined };
  const campaign = useQuery(campaignQuery(id));
  const recipients = useQuery({ ...recipientsQuery(id, { ...asked, after: filters.after }), enabled: known });
  useLive(["campaigns", id]);
  const save = useMutation({
    mutationFn: () => exportRecipients(id, asked),
    onSuccess: (text) =>
      download(`${[id, occurrence].filter(Boolean).join("-")}-recipients.csv`, String(text), "text/csv"),
    onError: toastError,
  });
  const again = (campaign.data?.occurrences.length ?? 0) > 1 || occurrence !== undefined;
  const some = status || reason || code;
  return (
    <CampaignFrame id={id} campaign={campaign.data} occurrence={occurrence}>
      {campaign.data && (
        <OccurrenceField
          campaign={campaign.data}
          value={occurrence ?? ""}
          change={(value) => chosen.set("occurrence", value)}
          otherwise={t("latestOccurrence")}
        />
      )}
      <FilterBar
        end={
          <Button variant="default" size="xs" onClick={() => save.mutate()} loading={save.isPending} disabled={!known}>
            {t("export", { which: some ? "some" : again ? "occurrence" : "all" })}
          </Button>
        }
      >
        <SelectFilter
          label={t("status")}
          value={filters.values.status}
          onChange={(value) => filters.set("status", value)}
          options={STATUSES}
        />
        <TextFilter
          label={t("reason")}
          value={filters.values.reason}
          onChange={(value) => filters.set("reason", value)}
        />
        <TextFilter
          label={t("code")}
          value={filters.values.code}
          onChange={(value) => filters.set("code", value.trim())}
          error={known ? undefined : t("codeWrong")}
        />
      </FilterBar>
      {known && (
        <Listing
          label={t("recipients")}
          query={recipients}
          columns={COLUMNS}
          rowKey={(one, position) => one.profile_id ?? String(position)}
          empty={{ title: t("noRecipients"), hint: t("noRecipientsHint") }}
          clearFilters={filters.clear}
        />
      )}
    </CampaignFrame>
  );
}
