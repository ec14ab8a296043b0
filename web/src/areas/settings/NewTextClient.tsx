/** Makes a client of the text-message API, and shows its secret once. */
import { Button, Group, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { connectionsQuery } from "@/api/connections";
import { useMay } from "@/api/me";
import { createTextClient } from "@/api/textClients";
import { FormProblem } from "@/parts/FormProblem";
import { SecretOnce } from "@/parts/SecretOnce";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

export const headersOf = (id: string, secret: string) => `X-Client-ID: ${id}\nX-Client-Secret: ${secret}`;

export function NewTextClient({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const may = useMay()("connections.read");
  const connections = useQuery({ ...connectionsQuery, enabled: may }).data?.data ?? [];
  const klaviyo = connections.filter(({ connector }) => connector === "klaviyo");
  const form = useForm({
    initial: {
      name: "",
      kind: "none" as "none" | "webhook" | "klaviyo",
      url: "",
      connection: "",
      check_links: "now" as "now" | "later" | "never",
      rate_limit: "100",
    },
    checks: { name: (name: string) => (name.trim() ? undefined : t("nameNeeded")) },
    names: { "callback.url": "url", "callback.connection_id": "connection", url: "url", connection_id: "connection" },
    send: ({ name, kind, url, connection, check_links, rate_limit }) =>
      createTextClient({
        name: name.trim(),
        check_links,
        ...(rate_limit.trim() && { rate_limit: Number(rate_limit) }),
        ...(kind === "webhook" && { callback: { kind, url: url.trim() } }),
        ...(kind === "klaviyo" && { callback: { kind, connection_id: connection || (klaviyo[0]?.id ?? "") } }),
      }),
    done: () => void queries.invalidateQueries({ queryKey: ["text-clients"] }),
  });
  const made = form.result;
  if (made) {
    return (
      <SecretOnce label={t("textCreated", { name: made.name })} text={headersOf(made.client_id, made.client_secret)}>
        <Text size="sm">{t("textHeaders")}</Text>
        <div>
          <Button size="xs" onClick={close}>
            {t("done")}
          </Button>
        </div>
      </SecretOnce>
    );
  }
  const kinds = ["none", "webhook", ...(klaviyo.length > 0 ? (["klaviyo"] as const) : [])] as const;
  return (
    <form {...form.form} aria-label={t("newText")}>
      <Stack maw={520}>
        <TextInput {...form.field("name")} label={t("name")} required withAsterisk={false} />
        <NativeSelect
          {...form.field("kind")}
          label={t("callback")}
          data={kinds.map((value) => ({ value, label: t(`callback_${value}`) }))}
        />
        {form.values.kind === "webhook" && (
          <TextInput
            {...form.field("url")}
            type="url"
            label={t("callbackUrl")}
            description={t("callbackUrlHint")}
            required
            withAsterisk={false}
          />
        )}
        {form.values.kind === "klaviyo" && (
          <NativeSelect
            {...form.field("connection")}
            label={t("callbackConnection")}
            data={klaviyo.map(({ id, name }) => ({ value: id, label: name }))}
          />
        )}
        <NativeSelect
          {...form.field("check_links")}
          label={t("checkLinks")}
          data={(["now", "later", "never"] as const).map((value) => ({ value, label: t(`checkLinks_${value}`) }))}
        />
        <TextInput {...form.field("rate_limit")} label={t("textRate")} inputMode="decimal" />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("createText")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
