/** The forms of the first steps. */
import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { addFirstEndpoint, followMessage, sendFirstEvent, sendFirstText } from "@/api/home";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { CopyButton } from "@/parts/CopyButton";
import { FormProblem } from "@/parts/FormProblem";
import { RequestView } from "@/parts/Request";
import { SecretOnce } from "@/parts/SecretOnce";
import { Status } from "@/parts/Status";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

const EXAMPLE = { userId: "ada", event: "Order Completed", properties: { total: 99.5 } };

export function TextStep({ ready }: { ready: boolean }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: { to: "", text: t("firstText") },
    send: sendFirstText,
    done: () => void queries.invalidateQueries({ queryKey: ["messages", "any"] }),
  });
  if (!ready) return <Text size="sm">{t("textNeeds")}</Text>;
  return (
    <form {...form.form} aria-label={t("text")}>
      <Stack gap="xs">
        <TextInput {...form.field("to")} label={t("phone")} type="tel" autoComplete="tel" size="xs" />
        <TextInput {...form.field("text")} label={t("message")} size="xs" />
        <FormProblem problem={form.problem} />
        <Group gap="xs">
          <Button type="submit" size="xs" loading={form.pending}>
            {t("send")}
          </Button>
          <CopyAsCurl method="POST" path="/v1/messages" body={{ channel: "sms", ...form.values }} />
        </Group>
        {form.result && <Ladder id={form.result.id} />}
      </Stack>
    </form>
  );
}

/** The statuses that a message has reached, the last one in colour. */
function Ladder({ id }: { id: string }) {
  const { data } = useQuery({ ...followMessage(id), refetchInterval: 1000 });
  return (
    <Group gap={6} role="status">
      {data?.history.flatMap(({ status, at }) => (status ? [<Status key={`${status} ${at}`} value={status} />] : []))}
    </Group>
  );
}

export function EndpointStep() {
  const queries = useQueryClient();
  const form = useForm({
    initial: { url: "" },
    send: addFirstEndpoint,
    done: () => void queries.invalidateQueries({ queryKey: ["webhooks"] }),
  });
  if (form.result?.secret) return <SecretOnce label={form.result.url} text={form.result.secret} />;
  return (
    <form {...form.form} aria-label={t("endpoint")}>
      <Stack gap="xs">
        <TextInput {...form.field("url")} label={t("url")} type="url" size="xs" />
        <FormProblem problem={form.problem} />
        <Group gap="xs">
          <Button type="submit" size="xs" loading={form.pending}>
            {t("add")}
          </Button>
          <CopyAsCurl method="POST" path="/v1/webhooks" body={{ ...form.values, event_types: ["*"] }} />
        </Group>
      </Stack>
    </form>
  );
}

export function EventStep({ endpoint }: { endpoint?: string }) {
  const queries = useQueryClient();
  const send = useMutation({
    mutationFn: sendFirstEvent,
    onSettled: () => void queries.invalidateQueries({ queryKey: ["webhooks"] }),
  });
  if (!endpoint) return <Text size="sm">{t("seeEventNeeds")}</Text>;
  const { request, response, error } = send.data ?? {};
  return (
    <Stack gap="xs">
      <Group gap="xs">
        <Button size="xs" onClick={() => send.mutate(endpoint)} loading={send.isPending}>
          {t("sendEvent")}
        </Button>
        <CopyButton text={() => curl({ method: "POST", path: "/v1/track", body: EXAMPLE })} words={t("ownEvent")} />
      </Group>
      <FormProblem problem={send.error} />
      {send.data && (
        <Text size="sm" role="status">
          {response ? t("arrived", { status: response.status }) : t("notArrived", { error: error ?? "" })}
        </Text>
      )}
      {request && (
        <RequestView method={request.method} url={request.url} headers={request.headers} body={request.body} />
      )}
    </Stack>
  );
}
