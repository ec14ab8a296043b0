/** The page /webhooks/$id/replays: starts a replay, and shows how far each is. */
import { Button, Group, NativeSelect, Progress, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { cancelReplay, type Replay, type ReplayState, replaysQuery, startReplay, type Webhook } from "@/api/webhooks";
import { formatDateTime, formatPercent } from "@/locales/format";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { type Column, Listing } from "@/parts/Listing";
import { Status } from "@/parts/Status";
import { toast, toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { useForm } from "@/parts/useForm";
import { has, t } from "./texts";
import { WebhookFrame } from "./WebhookFrame";

const STATES = ["undelivered", "missed", "dead", "delivered", "all"] as const satisfies ReplayState[];

export function ReplaysPage() {
  const { id } = useParams({ from: "/app/webhooks/$id/replays" });
  const { after } = useFilters();
  const query = useQuery(replaysQuery(id, after));
  const may = useMay()("webhooks.write");
  const columns: Column<Replay>[] = [
    { id: "period", title: t("period"), cell: (replay) => period(replay) },
    { id: "state", title: t("state"), cell: ({ state }) => <State state={state} /> },
    { id: "progress", title: t("progress"), cell: (replay) => <Done replay={replay} /> },
    { id: "queued", title: t("queued"), cell: ({ queued }) => <Count of={queued} />, numeric: true },
    ...(may ? [{ id: "actions", title: "", cell: (replay: Replay) => <Cancel replay={replay} /> }] : []),
  ];
  return (
    <WebhookFrame id={id}>
      {(webhook) => (
        <>
          {may && <StartReplay webhook={webhook} />}
          <Listing
            label={t("replays")}
            query={query}
            columns={columns}
            rowKey={(replay) => replay.id}
            empty={{ title: t("noReplays"), hint: t("noReplaysHint") }}
          />
        </>
      )}
    </WebhookFrame>
  );
}

const period = ({ since, until }: Replay) =>
  t("to", { since: formatDateTime(new Date(since)), until: formatDateTime(new Date(until)) });

function State({ state }: { state: string }) {
  const key = `state_${state}`;
  return <Status value={state} label={has(key) ? t(key) : undefined} />;
}

function Done({ replay }: { replay: Replay }) {
  return (
    <Stack gap={4} miw={120}>
      <Progress.Root>
        <Progress.Section
          value={replay.progress * 100}
          aria-label={t("progressOf", { when: formatDateTime(new Date(replay.created_at)) })}
        />
      </Progress.Root>
      <Text size="xs" c="dimmed">
        {formatPercent(replay.progress)} · {t("seen", { n: replay.seen })}
      </Text>
    </Stack>
  );
}

function Cancel({ replay: { id, webhook_id, state } }: { replay: Replay }) {
  const queries = useQueryClient();
  const cancel = useMutation({
    mutationFn: () => cancelReplay(id),
    onSuccess: () => {
      toast(t("replayCancelled"));
      void queries.invalidateQueries({ queryKey: ["webhooks", webhook_id] });
    },
    onError: toastError,
  });
  if (state !== "running") return null;
  return (
    <Button size="xs" variant="default" onClick={() => cancel.mutate()} loading={cancel.isPending}>
      {t("cancelReplay")}
    </Button>
  );
}

/** What the browser's date field holds is local time. */
const iso = (local: string) => new Date(local).toISOString();

function StartReplay({ webhook }: { webhook: Webhook }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: { state: "undelivered" as ReplayState, since: "", until: "", types: "" },
    send: ({ state, since, until, types }) => {
      const named = types.split(/[\s,]+/).filter(Boolean);
      return startReplay(webhook.id, {
        state,
        ...(since && { since: iso(since) }),
        ...(until && { until: iso(until) }),
        ...(named.length > 0 && { types: named }),
      });
    },
    done: () => {
      toast(t("replayStarted"));
      void queries.invalidateQueries({ queryKey: ["webhooks", webhook.id] });
    },
  });
  return (
    <Section title={t("replay")} lead={t("replayLead")}>
      <form {...form.form}>
        <Stack>
          <Group align="flex-start">
            <NativeSelect
              {...form.field("state")}
              label={t("replayWhat")}
              data={STATES.map((value) => ({ value, label: t(`replay_${value}`) }))}
            />
            <TextInput
              {...form.field("since")}
              type="datetime-local"
              label={t("since")}
              description={t("sinceHint")}
              inputWrapperOrder={["label", "input", "description", "error"]}
            />
            <TextInput
              {...form.field("until")}
              type="datetime-local"
              label={t("until")}
              description={t("untilHint")}
              inputWrapperOrder={["label", "input", "description", "error"]}
            />
            <TextInput
              {...form.field("types")}
              label={t("onlyTypes")}
              description={t("onlyTypesHint")}
              inputWrapperOrder={["label", "input", "description", "error"]}
            />
          </Group>
          <FormProblem problem={form.problem} />
          <Group>
            <Button type="submit" loading={form.pending}>
              {t("startReplay")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
