/** What the pages of one campaign have in common: title, state, tabs, and what can be done in its state. */
import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import {
  type Campaign,
  cancelCampaign,
  deleteCampaign,
  duplicateCampaign,
  pauseCampaign,
  resumeCampaign,
  unscheduleCampaign,
} from "@/api/campaigns";
import { useMay } from "@/api/me";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { DeleteButton } from "@/parts/DeleteButton";
import { confirm } from "@/parts/dialogs";
import { LinkTabs } from "@/parts/LinkTabs";
import { Page } from "@/parts/Page";
import { Status } from "@/parts/Status";
import { toast, toastError } from "@/parts/toasts";
import { t } from "./texts";

interface Props {
  id: string;
  campaign: Campaign | undefined;
  /** The one that both pages show; none is chosen if it is empty. */
  occurrence?: string;
  children: ReactNode;
}

export function CampaignFrame({ id, campaign, occurrence, children }: Props) {
  const may = useMay()("campaigns.write");
  const search = occurrence ? { occurrence } : undefined;
  return (
    <Page
      title={campaign?.name ?? id}
      area={t("title")}
      lead={campaign && <Status value={campaign.state} />}
      actions={
        <>
          <CopyAsCurl path={`/v1/campaigns/${id}/overview`} />
          {may && campaign && <Actions campaign={campaign} />}
        </>
      }
    >
      <LinkTabs
        label={t("tabs")}
        tabs={[
          { to: "/campaigns/$id", params: { id }, search, label: t("overview"), exact: true },
          { to: "/campaigns/$id/recipients", params: { id }, search, label: t("recipients") },
        ]}
      />
      {children}
    </Page>
  );
}

/** The longest name that a campaign may have. */
const LONGEST_NAME = 100;

function Duplicate({ campaign }: { campaign: Campaign }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const copy = useMutation({
    mutationFn: () => {
      const name = t("copyOf", { name: campaign.name });
      return duplicateCampaign(campaign, name.length > LONGEST_NAME ? campaign.name : name);
    },
    onSuccess: async (made) => {
      toast(t("duplicated", { name: made.name }));
      void queries.invalidateQueries({ queryKey: ["campaigns", "list"] });
      await navigate({ to: "/campaigns/$id/edit", params: { id: made.id } });
    },
    onError: toastError,
  });
  return (
    <Button variant="default" onClick={() => copy.mutate()} loading={copy.isPending}>
      {t("duplicate")}
    </Button>
  );
}

function Actions({ campaign }: { campaign: Campaign }) {
  const { id, name, state } = campaign;
  const queries = useQueryClient();
  const act = useMutation({
    mutationFn: (run: (id: string) => Promise<unknown>) => run(id),
    onSettled: () => queries.invalidateQueries({ queryKey: ["campaigns"] }),
    onError: toastError,
  });
  const is = (...states: Campaign["state"][]) => states.includes(state);

  async function stop() {
    const question = { title: t("stopQuestion", { name }), body: t("stopBody"), action: t("stop") };
    if (await confirm({ ...question, danger: true })) act.mutate(cancelCampaign);
  }

  return (
    <>
      {is("draft", "scheduled", "paused", "live") && (
        <Button variant="default" renderRoot={(props) => <Link to="/campaigns/$id/edit" params={{ id }} {...props} />}>
          {t("edit")}
        </Button>
      )}
      <Duplicate campaign={campaign} />
      {is("scheduled", "live") && (
        <Button
          variant="default"
          onClick={() => act.mutate(pauseCampaign)}
          loading={act.isPending}
          title={t("pauseHint")}
        >
          {t("pause")}
        </Button>
      )}
      {is("paused") && (
        <Button onClick={() => act.mutate(resumeCampaign)} loading={act.isPending}>
          {t("resume")}
        </Button>
      )}
      {is("scheduled") && (
        <Button variant="default" onClick={() => act.mutate(unscheduleCampaign)} loading={act.isPending}>
          {t("unschedule")}
        </Button>
      )}
      {is("scheduled", "live", "paused") && (
        <Button variant="default" c="red" onClick={() => void stop()}>
          {t("stop")}
        </Button>
      )}
      {is("draft", "finished", "cancelled") && (
        <DeleteButton
          question={{ title: t("deleteQuestion", { name }), body: t("deleteBody"), action: t("delete") }}
          remove={() => deleteCampaign(id)}
          done={t("deleted", { name })}
          to="/campaigns"
          queryKey={["campaigns", id]}
        />
      )}
    </>
  );
}
