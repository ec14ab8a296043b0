/** Makes a draft: a name and a channel; the steps follow. */
import { Button, Group, NativeSelect, Stack, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { type CampaignChannel, createCampaign } from "@/api/campaigns";
import { FormProblem } from "@/parts/FormProblem";
import { Page } from "@/parts/Page";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";
import { CHANNELS, channelName } from "./words";

export function NewCampaignPage() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const form = useForm({
    initial: { name: "", channel: "email" as CampaignChannel },
    send: createCampaign,
    done: ({ id }) => {
      void queries.invalidateQueries({ queryKey: ["campaigns"] });
      void navigate({ to: "/campaigns/$id/edit", params: { id }, search: { step: "audience" } as never });
    },
  });
  return (
    <Page title={t("newCampaign")} area={t("title")} lead={t("createHint")}>
      <form {...form.form} aria-label={t("newCampaign")}>
        <Stack maw={420}>
          <TextInput {...form.field("name")} label={t("name")} required withAsterisk={false} maxLength={100} />
          <NativeSelect
            {...form.field("channel")}
            label={t("channel")}
            data={CHANNELS.map((value) => ({ value, label: channelName(value) }))}
          />
          <FormProblem problem={form.problem} />
          <Group>
            <Button type="submit" loading={form.pending}>
              {t("create")}
            </Button>
            <Button variant="default" renderRoot={(props) => <Link to="/campaigns" {...props} />}>
              {t("cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Page>
  );
}
