/** The page /connections/$id: state, set-up check, guide, test message, credentials and limits. */
import { Alert, Button, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import {
  type Connection,
  connectionQuery,
  connectorsQuery,
  deleteConnection,
  disableConnection,
  enableConnection,
} from "@/api/connections";
import { useMay } from "@/api/me";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { CopyButton } from "@/parts/CopyButton";
import { DeleteButton } from "@/parts/DeleteButton";
import { Details, Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useLive } from "@/parts/useLive";
import { Check } from "./Check";
import { EditConnection } from "./EditConnection";
import { Guide } from "./Guide";
import { Health, State } from "./State";
import { TestMessage } from "./TestMessage";
import { Traffic } from "./Traffic";
import { has, rich, t } from "./texts";

export function ConnectionPage() {
  const { id } = useParams({ from: "/app/connections/$id" });
  const query = useQuery(connectionQuery(id));
  const connectors = useQuery(connectorsQuery);
  const may = useMay();
  useLive(["connections", id]);
  const connection = query.data;
  const connector = connectors.data?.data.find(({ name }) => name === connection?.connector);
  return (
    <Page
      title={connection?.name ?? t("title")}
      area={t("title")}
      lead={connector?.label}
      actions={connection && may("connections.write") && <Actions connection={connection} />}
    >
      <States query={query}>
        {(found) => (
          <>
            <Banner connection={found} />
            <Facts connection={found} />
            {may("messages.read") && <Traffic id={found.id} />}
            <Check connection={found} />
            {may("connections.write") && <TestMessage connection={found} />}
            <Guide connection={found} />
            {may("connections.write") && connector && <EditConnection connection={found} connector={connector} />}
          </>
        )}
      </States>
    </Page>
  );
}

function Banner({ connection: { status, status_reason, status_at, last_error } }: { connection: Connection }) {
  if (status === "enabled") return null;
  const paused = status === "paused";
  return (
    <Alert color={paused ? "orange" : "gray"} role="status" title={t(paused ? "paused" : "isDisabled")}>
      <Text size="sm">
        {rich("since", { when: <Time key="at" at={status_at} /> })} {status_reason?.replaceAll("_", " ")}
      </Text>
      {paused && last_error && <Text size="sm">{last_error}</Text>}
      <Text size="sm">{t(paused ? "pausedHint" : "disabledHint")}</Text>
    </Alert>
  );
}

function Facts({ connection }: { connection: Connection }) {
  const channel = `channel_${connection.channel}`;
  return (
    <Section title={t("state")} actions={<CopyAsCurl path={`/v1/connections/${connection.id}`} />}>
      <Details
        rows={[
          [t("status"), <State key="status" status={connection.status} />],
          [t("health"), <Health key="health" health={connection.health} />],
          [t("channel"), has(channel) ? t(channel) : connection.channel],
          [t("dataCenter"), connection.data_center],
          [
            t("lastError"),
            connection.last_error ? (
              <>
                {connection.last_error} <Time at={connection.last_error_at} />
              </>
            ) : undefined,
          ],
          [
            t("callbackUrl"),
            <>
              {connection.callback_url} <CopyButton text={connection.callback_url} what={t("callbackUrl")} />
            </>,
          ],
          [t("createdAt"), <Time key="created" at={connection.created_at} exact />],
        ]}
      />
    </Section>
  );
}

function Actions({ connection: { id, name, status } }: { connection: Connection }) {
  const queries = useQueryClient();
  const refresh = () => void queries.invalidateQueries({ queryKey: ["connections"] });
  const enable = useMutation({
    mutationFn: () => enableConnection(id),
    onSuccess: () => {
      toast(t("enabled"));
      refresh();
    },
    onError: toastError,
  });
  const disable = useMutation({
    mutationFn: () => disableConnection(id),
    onSuccess: () => {
      toast(t("disabled"));
      refresh();
    },
    onError: toastError,
  });
  async function askToDisable() {
    if (await confirm({ title: t("disableQuestion", { name }), body: t("disableBody"), action: t("disable") })) {
      disable.mutate();
    }
  }

  return (
    <>
      {status !== "enabled" && (
        <Button onClick={() => enable.mutate()} loading={enable.isPending}>
          {t("enable")}
        </Button>
      )}
      {status !== "disabled" && (
        <Button variant="default" onClick={() => void askToDisable()} loading={disable.isPending}>
          {t("disable")}
        </Button>
      )}
      <DeleteButton
        question={{ title: t("deleteQuestion", { name }), body: t("deleteBody"), action: t("delete") }}
        remove={() => deleteConnection(id)}
        done={t("deleted")}
        to="/connections"
        queryKey={["connections", id]}
      />
    </>
  );
}
