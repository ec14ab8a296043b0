/** Makes a template. */
import { NativeSelect } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { createTemplate, type TemplateChannel } from "@/api/templates";
import { Page } from "@/parts/Page";
import { useFilters } from "@/parts/useFilters";
import { startFields } from "./content";
import { TemplateForm } from "./TemplateForm";
import { t } from "./texts";

const CHANNELS: readonly TemplateChannel[] = ["email", "sms", "event"];

export function NewTemplatePage() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const filters = useFilters("channel");
  const channel = CHANNELS.find((one) => one === filters.values.channel) ?? "email";
  return (
    <Page title={t("newTemplate")} area={t("title")}>
      <NativeSelect
        maw={320}
        label={t("channel")}
        value={channel}
        onChange={(event) => filters.set("channel", event.currentTarget.value)}
        data={CHANNELS.map((value) => ({ value, label: t(`channel_${value}`) }))}
      />
      <TemplateForm
        key={channel}
        channel={channel}
        start={{ name: "", variants: [startFields(channel)] }}
        action={t("create")}
        send={(name, variants) => createTemplate(name, channel, variants)}
        done={({ id }) => {
          void queries.invalidateQueries({ queryKey: ["templates"] });
          void navigate({ to: "/templates/$id", params: { id }, ignoreBlocker: true });
        }}
      />
    </Page>
  );
}
