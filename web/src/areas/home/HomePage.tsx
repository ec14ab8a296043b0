/** The first page: what needs attention, figures of the last day, campaigns, failures, the latest events. */
import { Button } from "@mantine/core";
import { useState } from "react";
import { useMay } from "@/api/me";
import { Page } from "@/parts/Page";
import { useLive } from "@/parts/useLive";
import { Attention } from "./Attention";
import { Failures } from "./Failures";
import { Figures } from "./Figures";
import { GuidedStart } from "./GuidedStart";
import classes from "./HomePage.module.css";
import { LatestEvents } from "./LatestEvents";
import { RunningCampaigns } from "./RunningCampaigns";
import { leaveStart, startIsLeft, useStart } from "./start";
import { t } from "./texts";

export function HomePage() {
  const may = useMay();
  const start = useStart();
  const [left, setLeft] = useState(startIsLeft);
  useLive(["messages"], ["events"], ["webhooks"], ["connections"], ["campaigns"]);

  function leave(next: boolean) {
    leaveStart(next);
    setLeft(next);
  }

  return (
    <Page
      title={t("title")}
      lead={t("lead")}
      actions={
        start.open &&
        left && (
          <Button variant="default" onClick={() => leave(false)}>
            {t("again")}
          </Button>
        )
      }
    >
      {start.open && !left && <GuidedStart start={start} leave={() => leave(true)} />}
      <Attention />
      <Figures />
      <div className={classes.columns}>
        {may("campaigns.read") && <RunningCampaigns />}
        {may("messages.read") && <Failures />}
        {may("events.read") && <LatestEvents />}
      </div>
    </Page>
  );
}
