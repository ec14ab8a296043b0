/** What somebody has to do something about, each with the place to do it. */
import { Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { connectionsHome, endpointsQuery, ledgerQuery, runningCampaigns } from "@/api/home";
import { useMay } from "@/api/me";
import { Section } from "@/parts/Details";
import { Time } from "@/parts/Time";
import classes from "./HomePage.module.css";
import { t } from "./texts";
import { findTroubles } from "./troubles";

export function Attention() {
  const may = useMay();
  const endpoints = useQuery({ ...endpointsQuery, enabled: may("webhooks.read") }).data?.data;
  const connections = useQuery({ ...connectionsHome, enabled: may("connections.read") }).data?.data;
  const campaigns = useQuery({ ...runningCampaigns, enabled: may("campaigns.read") }).data?.data;
  const ledger = useQuery({ ...ledgerQuery, enabled: may("settings.read") }).data;
  const troubles = findTroubles({ endpoints, connections, campaigns, ledger });
  return (
    <Section title={t("attention")}>
      {troubles.length === 0 ? (
        <Text size="sm" c="dimmed">
          {t("allWell")}
        </Text>
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
