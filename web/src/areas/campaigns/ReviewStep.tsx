/** The last look: who gets it minus each exclusion, everything that is missing, a test, and the launch. */
import { Alert, Anchor, Button, Group, Stack, Table, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { type Campaign, type Estimate, estimateQuery, launchCampaign, type Missing } from "@/api/campaigns";
import { useMay } from "@/api/me";
import { Problem } from "@/api/problem";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { FormProblem } from "@/parts/FormProblem";
import { Loading } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { MessagePreview } from "./MessagePreview";
import type { StepProps } from "./StepForm";
import { TestForm } from "./TestForm";
import { has, t } from "./texts";
import { lacks, namesNobody, type Step, stepOf, words } from "./words";

interface Lack {
  step: Step;
  text: string;
}

const toLack = ({ code, field, detail }: Missing): Lack => {
  const key = `missing_${code}`;
  return { step: stepOf(field), text: has(key) ? t(key) : detail };
};

/** What the server said is missing, when it refused. */
function readMissing(error: unknown): Lack[] | undefined {
  const missing = error instanceof Problem ? error.extra.missing : undefined;
  return Array.isArray(missing) ? (missing as Missing[]).map(toLack) : undefined;
}

export function ReviewStep({ campaign }: StepProps) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const may = useMay();
  /** Whom the preview and the tests are for. */
  const [person, setPerson] = useState<string>();
  const estimate = useQuery(estimateQuery(campaign.id, campaign.version));
  const launch = useMutation({
    mutationFn: () => launchCampaign(campaign.id),
    onSuccess: async (launched) => {
      toast(t("launched"));
      queries.setQueryData(["campaigns", campaign.id], launched);
      void queries.invalidateQueries({ queryKey: ["campaigns"] });
      await navigate({ to: "/campaigns/$id", params: { id: campaign.id } });
    },
  });
  const missing =
    readMissing(launch.error) ?? readMissing(estimate.error) ?? estimate.data?.missing.map(toLack) ?? lacks(campaign);
  const n = estimate.data?.reach ?? 0;
  const now = campaign.schedule.kind === "now";

  async function ask() {
    const question = {
      title: t("launchQuestion", { n, name: campaign.name }),
      body: t(now ? "launchBody" : "scheduleBody"),
      action: t(now ? "launch" : "schedule", { n }),
    };
    if (await confirm({ ...question, typed: n >= TYPED_FROM ? String(n) : undefined })) launch.mutate();
  }

  return (
    <Stack>
      <Section title={t("reach")}>
        {namesNobody(campaign.audience) ? (
          <Text size="sm">{t("missing_no_audience")}</Text>
        ) : estimate.data ? (
          <Reach of={estimate.data} />
        ) : estimate.error && !readMissing(estimate.error) ? (
          <FormProblem problem={estimate.error} />
        ) : (
          <Loading />
        )}
      </Section>
      <Section title={t("missing")}>
        {estimate.isFetching && missing.length === 0 ? (
          <Loading />
        ) : missing.length === 0 ? (
          <Text size="sm">{t("nothingMissing")}</Text>
        ) : (
          <Alert color="orange">
            <ul style={{ margin: 0, paddingInlineStart: "1.2rem" }}>
              {missing.map(({ step, text }) => (
                <li key={text}>
                  {text}{" "}
                  <Anchor
                    component={Link}
                    to="/campaigns/$id/edit"
                    params={{ id: campaign.id } as never}
                    search={{ step } as never}
                  >
                    {t("goTo", { step: t(`step_${step}`) })}
                  </Anchor>
                </li>
              ))}
            </ul>
          </Alert>
        )}
      </Section>
      {campaign.template_id && <MessagePreview campaign={campaign} person={person} choose={setPerson} />}
      {campaign.template_id && may("campaigns.write") && <TestForm id={campaign.id} person={person} />}
      {launch.error && !readMissing(launch.error) && <FormProblem problem={launch.error} />}
      {may("campaigns.write") && campaign.state === "draft" && (
        <Group>
          <Button onClick={() => void ask()} loading={launch.isPending} disabled={lacks(campaign).length > 0}>
            {t(now ? "launch" : "schedule", { n })}
          </Button>
        </Group>
      )}
    </Stack>
  );
}

/** From here on the number must be typed: nobody mails everybody by mistake. */
const TYPED_FROM = 1000;

function Reach({ of: { audience, excluded, reach, approximate } }: { of: Estimate }) {
  return (
    <>
      <Table aria-label={t("reach")} maw={420}>
        <Table.Tbody>
          <Line name={t("audience")} n={audience} />
          {excluded.map(({ reason, count }) => (
            <Line key={reason} name={t("less", { reason: words(reason) })} n={-count} />
          ))}
          <Line name={t("willGet")} n={reach} strong />
        </Table.Tbody>
      </Table>
      {approximate && (
        <Text size="sm" c="dimmed">
          {t("approximate")}
        </Text>
      )}
    </>
  );
}

function Line({ name, n, strong }: { name: string; n: Campaign["holdout"]; strong?: boolean }) {
  return (
    <Table.Tr fw={strong ? 600 : undefined}>
      <Table.Th scope="row">{name}</Table.Th>
      <Table.Td className="numeric">
        <Count of={n} />
      </Table.Td>
    </Table.Tr>
  );
}
