/** The overview of a campaign: how far it is, what came of it, and why somebody got nothing. */
import { Alert, Progress, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { type Campaign, campaignQuery, overviewQuery } from "@/api/campaigns";
import { formatDateTime, formatNumber } from "@/locales/format";
import { Chart } from "@/parts/Chart";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { CampaignFrame } from "./CampaignFrame";
import { ClicksOnMail } from "./ClicksOnMail";
import { Failures, Links, Numbers, Reasons, Variants } from "./Numbers";
import { OccurrenceField } from "./OccurrenceField";
import { t } from "./texts";
import { duration, words } from "./words";

export function CampaignPage() {
  const { id } = useParams({ from: "/app/campaigns/$id" });
  const filters = useFilters("occurrence");
  const { occurrence } = filters.values;
  const campaign = useQuery(campaignQuery(id));
  const overview = useQuery(overviewQuery(id, occurrence || undefined));
  useLive(["campaigns", id]);
  const one = campaign.data;
  return (
    <CampaignFrame id={id} campaign={one} occurrence={occurrence}>
      {one && <Sending campaign={one} />}
      {one && (
        <OccurrenceField
          campaign={one}
          value={occurrence}
          change={(value) => filters.set("occurrence", value)}
          otherwise={t("allOccurrences")}
        />
      )}
      <States query={overview}>
        {(found) =>
          found.audience === 0 ? (
            <Text>{t("noNumbers")}</Text>
          ) : (
            <Stack>
              <Numbers of={found} />
              <Failures id={id} occurrence={occurrence} of={found} />
              <Reasons id={id} occurrence={occurrence} of={found} />
              {one && one.occurrences.length > 1 && !occurrence && (
                <Text size="sm" c="dimmed">
                  {t("ofAll")}
                </Text>
              )}
              <Links of={found} />
              {one && <ClicksOnMail campaign={one} of={found} />}
              <Variants of={found} />
              {found.series.length > 1 && (
                <Section title={t("overTime")}>
                  <Chart
                    label={t("overTime")}
                    times={found.series.map(({ hour }) => Date.parse(hour) / 1000)}
                    series={(["sent", "delivered", "failed"] as const).map((name) => ({
                      name: t(name),
                      values: found.series.map(({ counts }) => counts[name] ?? 0),
                    }))}
                    formatTime={(at) => formatDateTime(at)}
                  />
                </Section>
              )}
            </Stack>
          )
        }
      </States>
    </CampaignFrame>
  );
}

/** Messages a minute, measured between two answers of the server. */
function useRate(done: number): number | undefined {
  const before = useRef<{ at: number; done: number }>(undefined);
  const [rate, setRate] = useState<number>();
  useEffect(() => {
    const now = performance.now();
    const { current } = before;
    if (current && done > current.done) setRate(((done - current.done) / (now - current.at)) * 60_000);
    if (!current || done !== current.done) before.current = { at: now, done };
  }, [done]);
  return rate;
}

function Sending({ campaign }: { campaign: Campaign }) {
  const { audience, done } = campaign.progress;
  const rate = useRate(done);
  const live = campaign.state === "live" && done < audience;
  return (
    <Section title={t("progress")}>
      {campaign.state === "paused" && campaign.reason && (
        <Alert color="orange" mb="sm">
          {t("pausedBecause", { reason: words(campaign.reason) })}
        </Alert>
      )}
      <Progress value={audience ? (done / audience) * 100 : 0} aria-label={t("progress")} animated={live} size="lg" />
      <Text size="sm" mt="xs">
        {t("sending", { done: formatNumber(done), audience: formatNumber(audience) })}
        {live && rate === undefined && ` · ${t("noRate")}`}
        {live && rate !== undefined && ` · ${t("rate", { n: Math.round(rate) })}`}
        {live && rate !== undefined && ` · ${t("eta", { time: duration((audience - done) / rate) })}`}
      </Text>
    </Section>
  );
}
