/** The page of one delivery: its state, every attempt with the answer, and what is sent. */
import { Anchor, Button, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { eventQuery } from "@/api/events";
import { useMay } from "@/api/me";
import { type Attempt, deliveryQuery, retryDelivery, webhookQuery } from "@/api/webhooks";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Details, Section } from "@/parts/Details";
import { Json } from "@/parts/Json";
import { Page } from "@/parts/Page";
import { Reason } from "@/parts/Reason";
import { ResponseView } from "@/parts/Request";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useLive } from "@/parts/useLive";
import { DeliveryState } from "./DeliveriesPage";
import { errorCode, errorWords } from "./errorWords";
import { has, t } from "./texts";

export function DeliveryPage() {
  const { id, delivery } = useParams({ from: "/app/webhooks/$id/deliveries/$delivery" });
  const query = useQuery(deliveryQuery(id, delivery));
  const url = useQuery(webhookQuery(id)).data?.url;
  const may = useMay();
  const queries = useQueryClient();
  useLive(["webhooks", id]);
  const retry = useMutation({
    mutationFn: () => retryDelivery(delivery),
    onSuccess: () => {
      toast(t("retried"));
      void queries.invalidateQueries({ queryKey: ["webhooks", id] });
    },
    onError: toastError,
  });
  const found = query.data;
  const reason = `reason_${found?.reason}`;
  return (
    <Page
      title={t("deliveryTitle", { type: found?.type ?? t("unknownType") })}
      area={t("title")}
      lead={
        <Anchor component={Link} to="/webhooks/$id/deliveries" params={{ id } as never}>
          {url ?? id}
        </Anchor>
      }
      actions={
        <>
          <CopyAsCurl path={`/v1/deliveries/${delivery}`} />
          {found && may("webhooks.write") && (
            <Button onClick={() => retry.mutate()} loading={retry.isPending}>
              {found.state === "pending" ? t("retryNow") : t("retry")}
            </Button>
          )}
        </>
      }
    >
      <States query={query}>
        {(one) => (
          <>
            <Details
              rows={[
                [t("state"), <DeliveryState key="state" state={one.state} />],
                [t("reason"), one.reason ? (has(reason) ? t(reason) : one.reason) : undefined],
                [t("waitsFor"), one.waits_for ?? undefined],
                [t("next"), one.next_attempt_at ? <Time key="next" at={one.next_attempt_at} /> : undefined],
                [t("settled"), one.settled_at ? <Time key="settled" at={one.settled_at} exact /> : undefined],
                [t("webhookId"), <code key="event">{one.event_id}</code>],
              ]}
            />
            {one.attempts.length === 0 && <Text>{t("noAttempts")}</Text>}
            {[...one.attempts].reverse().map((attempt) => (
              <AttemptView key={attempt.id} attempt={attempt} />
            ))}
            {may("events.read") && <Payload event={one.event_id} />}
          </>
        )}
      </States>
    </Page>
  );
}

function AttemptView({ attempt }: { attempt: Attempt }) {
  const { number, started_at, duration_ms, status, headers, body, body_base64, error } = attempt;
  return (
    <Section title={t("attempt", { n: number })} lead={<Time at={started_at} exact />}>
      {error && <Reason code={errorCode(error)} text={errorWords(error)} />}
      <ResponseView
        status={status}
        headers={headers}
        body={body ?? body_base64}
        milliseconds={duration_ms}
        error={status === null && error ? errorWords(error) : undefined}
      />
    </Section>
  );
}

function Payload({ event }: { event: string }) {
  const query = useQuery({ ...eventQuery(event), retry: false });
  return (
    <Section title={t("payload")} lead={t("payloadLead")}>
      {query.error && "status" in query.error && query.error.status === 404 ? (
        <Text size="sm">{t("eventGone")}</Text>
      ) : (
        <States query={query}>
          {({ type, occurred_at, data }) => <Json value={{ type, timestamp: occurred_at, data }} />}
        </States>
      )}
    </Section>
  );
}
