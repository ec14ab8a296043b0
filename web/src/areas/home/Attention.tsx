/** What somebody has to do something about, each with the place to do it. */
import { Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { connectionsHome, endpointsQuery, ledgerQuery, runningCampaigns } from "@/api/home";
import { useMay } from "@/api/me";
import { Section } from "@/parts/Details";
import { Failed, Loading } from "@/parts/States";
import { Time } from "@/parts/Time";
import classes from "./HomePage.module.css";
import { t } from "./texts";
import { findTroubles } from "./troubles";

export function Attention() {
  const may = useMay();
  const endpoints = useQuery({ ...endpointsQuery, enabled: may("webhooks.read") });
  const connections = useQuery({ ...connectionsHome, enabled: may("connections.read") });
  const campaigns = useQuery({ ...runningCampaigns, enabled: may("campaigns.read") });
  const ledger = useQuery({ ...ledgerQuery, enabled: may("settings.read") });
  const all = [endpoints, connections, campaigns, ledger];
  // What this person may not see is never asked for: it is idle.
  const loading = all.some(({ isPending, fetchStatus }) => isPending && fetchStatus !== "idle");
  const failed = all.filter(({ isError, data }) => isError && data === undefined);
  const troubles = findTroubles({
    endpoints: endpoints.data?.data,
    connections: connections.data?.data,
    campaigns: campaigns.data?.data,
    ledger: ledger.data,
  });
  return (
    <Section title={t("attention")}>
      {failed.length > 0 && (
        <Failed
          error={failed[0]?.error}
          retry={() => {
            for (const query of failed) void query.refetch();
          }}
        />
      )}
      {troubles.length === 0 ? (
        loading ? (
          <Loading />
        ) : (
          failed.length === 0 && (
            <Text size="sm" c="dimmed">
              {t("allWell")}
            </Text>
          )
        )
      ) : (
        <ul className={classes.problems}>
          {troubles.map(({ id, to, what, why, at }) => (
            <li key={id} className={classes.problem}>
              <div>
                <Text size="sm" fw={500}>
                  {what}
                </Text>
                {why && (
                  <Text size="sm" c="dimmed">
                    {why}
                  </Text>
                )}
                {at && (
                  <Text size="xs" c="dimmed">
                    <Time at={at} />
                  </Text>
                )}
              </div>
              <Button component={Link} to={to} size="xs" variant="default" aria-label={t("openIt", { what })}>
                {t("open")}
              </Button>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}
