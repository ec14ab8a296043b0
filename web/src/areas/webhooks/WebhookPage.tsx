/** The page /webhooks/$id: the ledger, a test event, the secret, the settings. */
import { Text } from "@mantine/core";
import { useParams } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import type { Webhook } from "@/api/webhooks";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Details, Section } from "@/parts/Details";
import { Json } from "@/parts/Json";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { errorWords } from "./errorWords";
import { Ledger } from "./Ledger";
import { Scope } from "./Scope";
import { Secret } from "./Secret";
import { TestEvent } from "./TestEvent";
import { has, t } from "./texts";
import { WebhookFrame } from "./WebhookFrame";

export function WebhookPage() {
  const { id } = useParams({ from: "/app/webhooks/$id" });
  const may = useMay();
  return (
    <WebhookFrame id={id}>
      {(webhook) => (
        <>
          <Ledger webhook={webhook} />
          {may("webhooks.write") && <TestEvent webhook={webhook} />}
          {may("webhooks.secrets") && <Secret webhook={webhook} />}
          <Fields webhook={webhook} />
        </>
      )}
    </WebhookFrame>
  );
}

function Fields({ webhook }: { webhook: Webhook }) {
  const format = `format_${webhook.format}`;
  const signature = `signature_${webhook.signature}`;
  return (
    <Section title={t("fields")} actions={<CopyAsCurl path={`/v1/webhooks/${webhook.id}`} />}>
      <Details
        rows={[
          [
            t("status"),
            <Status
              key="status"
              value={webhook.status === "enabled" ? "active" : webhook.status}
              label={t(webhook.status === "enabled" ? "status_enabled" : "status_disabled")}
            />,
          ],
          [t("scope"), <Scope key="scope" webhook={webhook} />],
          [t("eventTypes"), webhook.event_types.join(", ")],
          [t("filter"), webhook.filter ? <Json key="filter" value={webhook.filter} /> : t("noFilter")],
          [t("format"), has(format) ? t(format) : webhook.format],
          [t("signature"), has(signature) ? t(signature) : webhook.signature],
          Object.keys(webhook.headers).length > 0 && [
            t("headers"),
            <Text key="headers" size="sm" ff="monospace" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
              {Object.entries(webhook.headers)
                .map(([name, value]) => `${name}: ${value}`)
                .join("\n")}
            </Text>,
          ],
          [t("rateLimit"), webhook.rate_limit === null ? t("noLimit") : t("scopeTypes", { types: webhook.rate_limit })],
          [t("concurrency"), t("scopeTypes", { types: webhook.concurrency })],
          [t("timeout"), t("seconds", { n: webhook.timeout })],
          [t("ownerEmail"), webhook.owner_email ?? t("nobody")],
          [t("user"), webhook.user_name ?? undefined],
          [t("lastError"), webhook.last_error ? errorWords(webhook.last_error) : undefined],
          [t("createdAt"), <Time key="created" at={webhook.created_at} exact />],
        ]}
      />
    </Section>
  );
}
