/** All campaigns, with how far each is. */
import { Anchor, Button, Progress, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type Campaign, campaignsQuery } from "@/api/campaigns";
import { useMay } from "@/api/me";
import { formatNumber } from "@/locales/format";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { FilterBar, SelectFilter } from "@/parts/FilterBar";
import { type Column, Listing } from "@/parts/Listing";
import { Page } from "@/parts/Page";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { t } from "./texts";
import { channelName } from "./words";

const STATES = ["draft", "scheduled", "live", "paused", "finished", "cancelled"];

const COLUMNS: Column<Campaign>[] = [
  {
    id: "name",
    title: t("name"),
    cell: ({ id, name, state }) => (
      <Anchor
        component={Link}
        to={(state === "draft" ? "/campaigns/$id/edit" : "/campaigns/$id") as "/campaigns/$id"}
        params={{ id } as never}
      >
        {name}
      </Anchor>
    ),
  },
  { id: "state", title: t("state"), cell: ({ state }) => <Status value={state} /> },
  { id: "channel", title: t("channel"), cell: ({ channel }) => channelName(channel), wide: true },
  {
    id: "progress",
    title: t("progress"),
    cell: ({ name, progress: { audience, done } }) =>
      audience === 0 ? (
        t("none")
      ) : (
        <>
          <Progress value={(done / audience) * 100} aria-label={`${t("progress")}: ${name}`} miw={80} />
          <Text size="xs" c="dimmed">
            {t("progressOf", { done: formatNumber(done), audience: formatNumber(audience) })}
          </Text>
        </>
      ),
    wide: true,
  },
  { id: "next", title: t("next"), cell: (one) => <Time at={one.next_at} otherwise={t("none")} />, wide: true },
  { id: "created", title: t("created"), cell: (one) => <Time at={one.created_at} />, wide: true },
];

export function CampaignsPage() {
  const filters = useFilters("state");
  const campaigns = useQuery(campaignsQuery({ ...filters.query, after: filters.after }));
  const may = useMay()("campaigns.write");
  useLive(["campaigns", "list"]);
  const make = may && (
    <Button renderRoot={(props) => <Link to="/campaigns/new" {...props} />}>{t("newCampaign")}</Button>
  );
  return (
    <Page
      title={t("title")}
      lead={t("lead")}
      actions={
        <>
          <CopyAsCurl path="/v1/campaigns" query={filters.query} />
          {make}
        </>
      }
    >
      <FilterBar>
        <SelectFilter
          label={t("state")}
          value={filters.values.state}
          onChange={(value) => filters.set("state", value)}
          options={STATES}
        />
      </FilterBar>
      <Listing
        label={t("title")}
        query={campaigns}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{
          title: t("noCampaigns"),
          hint: t("noCampaignsHint"),
          children: make || undefined,
          example: curl({
            method: "POST",
            path: "/v1/campaigns",
            body: { name: "Spring", channel: "email", template_id: "tpl_…", audience: { lists: ["lst_…"] } },
          }),
        }}
        clearFilters={filters.clear}
      />
    </Page>
  );
}
