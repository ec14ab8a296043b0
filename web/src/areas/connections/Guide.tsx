/** The set-up guide of a connection: the steps at the provider, the tracker URL and the IAM policy to copy, the key for receipts. */
import { Anchor, Button, List, Stack, Text } from "@mantine/core";
import "@mantine/core/styles/List.css";
import { useMutation, useQuery } from "@tanstack/react-query";
import { type Connection, policyQuery, rotateReceiptsKey, setupQuery } from "@/api/connections";
import { useMay } from "@/api/me";
import { CodeBlock } from "@/parts/CodeBlock";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { SecretOnce } from "@/parts/SecretOnce";
import { States } from "@/parts/States";
import { toastError } from "@/parts/toasts";
import { t } from "./texts";

export function Guide({ connection }: { connection: Connection }) {
  const { id, tracker_url } = connection;
  const query = useQuery(setupQuery(connection));
  const policy = useQuery({ ...policyQuery(connection), enabled: tracker_url !== null });
  return (
    <Section title={t("guide")} lead={t("guideLead")}>
      <States query={query}>
        {(setup) => (
          <Stack>
            <List type="ordered" spacing="sm">
              {setup.steps.map(({ title, text, url }) => (
                <List.Item key={title}>
                  <Text size="sm" fw={500}>
                    {title}
                  </Text>
                  <Text size="sm">{text}</Text>
                  {url?.startsWith("https://") && url !== setup.tracker_url && (
                    <Anchor href={url} target="_blank" rel="noopener noreferrer" size="sm">
                      {t("open", { address: new URL(url).host })}
                    </Anchor>
                  )}
                </List.Item>
              ))}
            </List>
            {setup.tracker_url ? (
              <CodeBlock label={t("trackerUrl")} text={setup.tracker_url} wrap />
            ) : (
              <CodeBlock label={t("callbackUrl")} text={setup.callback_url} wrap />
            )}
          </Stack>
        )}
      </States>
      {tracker_url !== null && policy.data && (
        <div>
          <Text size="sm">{t("policyLead")}</Text>
          <CodeBlock label={t("policy")} text={JSON.stringify(policy.data, null, 2)} />
        </div>
      )}
      <ReceiptsKey id={id} />
    </Section>
  );
}

function ReceiptsKey({ id }: { id: string }) {
  const may = useMay()("connections.write");
  const rotate = useMutation({ mutationFn: () => rotateReceiptsKey(id), onError: toastError });

  async function ask() {
    const question = { title: t("rotateKeyQuestion"), body: t("rotateKeyBody"), action: t("rotateKey") };
    if (await confirm({ ...question, danger: true })) rotate.mutate();
  }

  if (rotate.data) {
    return (
      <SecretOnce label={t("receiptsKey")} text={rotate.data.access_key_for_receipts}>
        <Text size="sm">{t("receiptsKeyLead")}</Text>
      </SecretOnce>
    );
  }
  if (!may) return null;
  return (
    <div>
      <Button size="xs" variant="default" onClick={() => void ask()} loading={rotate.isPending}>
        {t("rotateKey")}
      </Button>
    </div>
  );
}
