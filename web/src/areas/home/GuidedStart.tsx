/** The first steps: connect a provider, send a text, add an endpoint, see an event arrive. */
import { Badge, Button, Group, Text, Title } from "@mantine/core";
import { IconCircleCheckFilled } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import classes from "./HomePage.module.css";
import { EndpointStep, EventStep, TextStep } from "./StartSteps";
import type { Start } from "./start";
import { t } from "./texts";

export function GuidedStart({ start, leave }: { start: Start; leave: () => void }) {
  return (
    <Section
      title={t("start")}
      lead={t("startLead")}
      actions={
        <Button variant="subtle" color="gray" size="xs" onClick={leave}>
          {t("leave")}
        </Button>
      }
    >
      <ol className={classes.steps}>
        <Step n={1} title={t("connect")} hint={t("connectHint")} done={start.connected}>
          <Group gap="xs">
            <Button component={Link} to="/connections" size="xs" variant={start.connected ? "default" : "filled"}>
              {t("connectOpen")}
            </Button>
            <CopyAsCurl path="/v1/connectors" />
          </Group>
        </Step>
        <Step n={2} title={t("text")} hint={t("textHint")} done={start.texted}>
          <TextStep ready={start.textable} />
        </Step>
        <Step n={3} title={t("endpoint")} hint={t("endpointHint")} done={start.endpoint !== undefined}>
          <EndpointStep />
        </Step>
        <Step n={4} title={t("seeEvent")} hint={t("seeEventHint")} done={start.seen}>
          <EventStep endpoint={start.endpoint} />
        </Step>
      </ol>
    </Section>
  );
}

interface StepProps {
  n: number;
  title: string;
  hint: string;
  done: boolean;
  children: ReactNode;
}

function Step({ n, title, hint, done, children }: StepProps) {
  return (
    <li className={classes.step}>
      <Group gap="xs" wrap="nowrap">
        {done ? (
          <IconCircleCheckFilled
            size={22}
            role="img"
            aria-label={t("done")}
            color="var(--mantine-color-green-filled)"
          />
        ) : (
          <Badge circle variant="light" aria-label={t("step", { n })}>
            {n}
          </Badge>
        )}
        <Title order={3} size="h5">
          {title}
        </Title>
      </Group>
      <Text size="sm" c="dimmed">
        {hint}
      </Text>
      {children}
    </li>
  );
}
