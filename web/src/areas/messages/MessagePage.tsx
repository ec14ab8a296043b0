/** The page /messages/$id: one message's whole story, and what can still be done with it. */
import { Anchor, Button, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { cancelMessage, type MessageDetail, messageQuery, resendMessage } from "@/api/messages";
import { formatNumber } from "@/locales/format";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { CopyButton } from "@/parts/CopyButton";
import { Details, Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { Json } from "@/parts/Json";
import { Page } from "@/parts/Page";
import { Reason } from "@/parts/Reason";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useLive } from "@/parts/useLive";
import { ConnectionName } from "./ConnectionName";
import { Content } from "./Content";
import { History } from "./History";
import { MessageState, reasonWords } from "./MessageState";
import { has, t } from "./texts";

export function MessagePage() {
  const { id } = useParams({ from: "/app/messages/$id" });
  const query = useQuery(messageQuery(id));
  const may = useMay()("messages.send");
  useLive(["messages", id]);
  const message = query.data;
  const channel = `channel_${message?.channel}`;
  return (
    <Page
      title={message ? t("messageTo", { to: message.to }) : t("title")}
      area={t("title")}
      lead={has(channel) ? t(channel) : undefined}
      actions={
        <>
          <CopyAsCurl path={`/v1/messages/${id}`} />
          {message && may && <Actions message={message} />}
        </>
      }
    >
      <States query={query}>
        {(found) => (
          <>
            <Facts message={found} />
            <History message={found} />
            <Content message={found} />
          </>
        )}
      </States>
    </Page>
  );
}

function Facts({ message }: { message: MessageDetail }) {
  const means = `means_${message.status}`;
  const people = (all: number, machines: number) =>
    all + machines > 0 ? t("byPeople", { people: all, machines }) : undefined;
  return (
    <Section title={t("facts")}>
      <Details
        rows={[
          [
            t("status"),
            <>
              <MessageState status={message.status} /> {has(means) && t(means)}
            </>,
          ],
          message.code !== null || message.reason !== null
            ? [
                t("reason"),
                <Reason
                  key="reason"
                  code={message.code}
                  text={message.failure ?? reasonWords(message.reason)}
                  fix={message.failure ? reasonWords(message.reason) : undefined}
                />,
              ]
            : false,
          [t("providerCode"), message.provider_code ?? undefined],
          [t("nextTry"), message.due_at ? <Time key="due" at={message.due_at} /> : undefined],
          [
            t("expires"),
            message.status === "queued" ? <Time key="expires" at={message.expires_at} exact /> : undefined,
          ],
          [t("connection"), <ConnectionName key="connection" id={message.connection_id} />],
          [
            t("person"),
            message.profile_id ? (
              <Anchor key="person" inherit component={Link} to={`/people/${message.profile_id}` as never}>
                {message.profile_id}
              </Anchor>
            ) : undefined,
          ],
          [
            t("campaign"),
            message.campaign_id ? (
              <Anchor key="campaign" inherit component={Link} to={`/campaigns/${message.campaign_id}` as never}>
                {message.campaign}
              </Anchor>
            ) : (
              (message.campaign ?? undefined)
            ),
          ],
          [
            t("template"),
            message.template_id ? (
              <Anchor key="template" inherit component={Link} to={`/templates/${message.template_id}` as never}>
                {t("templateVersion", { id: message.template_id, n: message.template_version ?? 1 })}
              </Anchor>
            ) : undefined,
          ],
          [t("purpose"), message.purpose],
          [t("textStatus"), message.text_status ?? undefined],
          [t("tries"), formatNumber(message.tries)],
          [t("parts"), message.parts === null ? undefined : formatNumber(message.parts)],
          [t("price"), price(message)],
          [t("carrier"), message.carrier ?? undefined],
          [t("opens"), people(message.opens, message.machine_opens)],
          [t("clicks"), people(message.clicks, message.machine_clicks)],
          [
            t("id"),
            <>
              {message.id} <CopyButton text={message.id} what={t("id")} />
            </>,
          ],
          [
            t("providerId"),
            message.provider_message_id ? (
              <>
                {message.provider_message_id} <CopyButton text={message.provider_message_id} what={t("providerId")} />
              </>
            ) : undefined,
          ],
          [t("accepted"), <Time key="created" at={message.created_at} exact />],
        ]}
      />
      {Object.keys(message.metadata).length > 0 && <Json label={t("metadata")} value={message.metadata} />}
    </Section>
  );
}

function price({ price, currency }: MessageDetail): string | undefined {
  if (price === null) return undefined;
  if (!currency) return formatNumber(price, { maximumFractionDigits: 6 });
  return formatNumber(price, { style: "currency", currency, maximumFractionDigits: 6 });
}

function Actions({ message: { id, to, status } }: { message: MessageDetail }) {
  const queries = useQueryClient();
  const refresh = () => void queries.invalidateQueries({ queryKey: ["messages"] });
  const resend = useMutation({
    mutationFn: () => resendMessage(id),
    onSuccess: () => {
      toast(t("resent"));
      refresh();
    },
    onError: toastError,
  });
  const cancel = useMutation({
    mutationFn: () => cancelMessage(id),
    onSuccess: () => {
      toast(t("cancelled"));
      refresh();
    },
    onError: toastError,
  });

  async function askToResend() {
    const body = <Text size="sm">{t(status === "unknown" ? "resendBody" : "resendFailedBody")}</Text>;
    if (await confirm({ title: t("resendQuestion", { to }), body, action: t("resend") })) resend.mutate();
  }

  async function askToCancel() {
    const question = { title: t("cancelQuestion", { to }), body: t("cancelBody"), action: t("cancel") };
    if (await confirm({ ...question, danger: true })) cancel.mutate();
  }

  return (
    <>
      {(status === "failed" || status === "unknown") && (
        <Button onClick={() => void askToResend()} loading={resend.isPending}>
          {t("resend")}
        </Button>
      )}
      {(status === "queued" || status === "held") && (
        <Button variant="default" onClick={() => void askToCancel()} loading={cancel.isPending}>
          {t("cancel")}
        </Button>
      )}
    </>
  );
}
