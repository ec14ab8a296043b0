/** The steps of a campaign. Each is saved by itself, in any order; the server holds the draft. */
import { Alert } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { type Campaign, campaignQuery } from "@/api/campaigns";
import { Edited } from "@/parts/Edited";
import { LinkTabs } from "@/parts/LinkTabs";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { AudienceStep } from "./AudienceStep";
import { BasicsStep } from "./BasicsStep";
import { ContentStep } from "./ContentStep";
import { ReviewStep } from "./ReviewStep";
import { ScheduleStep } from "./ScheduleStep";
import { t } from "./texts";
import { lacks, STEPS, type Step, words } from "./words";

export function WizardPage() {
  const { id } = useParams({ from: "/app/campaigns/$id/edit" });
  const campaign = useQuery(campaignQuery(id));
  const search = useSearch({ from: "/app/campaigns/$id/edit" }) as { step?: string };
  const step = STEPS.find((one) => one === search.step) ?? "basics";
  const missing = campaign.data ? lacks(campaign.data) : [];
  return (
    <Page title={t("editing", { name: campaign.data?.name ?? id })} area={t("title")}>
      <LinkTabs
        label={t("steps")}
        tabs={STEPS.map((one, index) => {
          const name = `${index + 1}. ${t(`step_${one}`)}`;
          const label = missing.some((lack) => lack.step === one) ? `${name} •` : name;
          return { to: "/campaigns/$id/edit", params: { id }, search: { step: one }, label };
        })}
      />
      <States query={campaign}>
        {(one) => (
          <>
            {one.state !== "draft" && <Alert color="blue">{t("notEditable", { state: words(one.state) })}</Alert>}
            <Edited key={`${step} ${one.id}`} data={one}>
              {(draft) => <Shown step={step} campaign={draft} />}
            </Edited>
          </>
        )}
      </States>
    </Page>
  );
}

const PARTS = {
  basics: BasicsStep,
  audience: AudienceStep,
  content: ContentStep,
  schedule: ScheduleStep,
  review: ReviewStep,
};

function Shown({ step, campaign }: { step: Step; campaign: Campaign }) {
  const navigate = useNavigate();
  const Part = PARTS[step];
  const next = STEPS[STEPS.indexOf(step) + 1] ?? "review";
  return (
    <Part
      campaign={campaign}
      goOn={() =>
        void navigate({
          to: "/campaigns/$id/edit",
          params: { id: campaign.id },
          search: { step: next } as never,
          ignoreBlocker: true,
        })
      }
    />
  );
}
