/** The failures of the last day by code. */
import { Anchor, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { messageFigures } from "@/api/home";
import { Section } from "@/parts/Details";
import { FailureTable } from "@/parts/FailureTable";
import { States } from "@/parts/States";
import { t } from "./texts";

const SHOWN = 8;

export function Failures() {
  const query = useQuery(messageFigures);
  const to: string = "/messages";
  return (
    <Section title={t("failures")}>
      <States query={query}>
        {({ failures }) =>
          failures.length === 0 ? (
            <Text size="sm" c="dimmed">
              {t("noFailures")}
            </Text>
          ) : (
            <>
              <FailureTable label={t("failures")} failures={failures.slice(0, SHOWN)} />
              <Anchor component={Link} to={to} search={{ status: "failed" } as never} size="sm">
                {t("seeThem")}
              </Anchor>
            </>
          )
        }
      </States>
    </Section>
  );
}
