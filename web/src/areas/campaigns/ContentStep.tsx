/** The template of a campaign, with how a person would get it. */
import { Anchor, NativeSelect, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { templateNamesQuery } from "@/api/campaigns";
import { MessagePreview } from "./MessagePreview";
import { StepForm, type StepProps, useStep } from "./StepForm";
import { t } from "./texts";

export function ContentStep(props: StepProps) {
  const { campaign } = props;
  const channel = campaign.channel === "webhook" ? "event" : campaign.channel;
  const templates = useQuery(templateNamesQuery).data?.data.filter((one) => one.channel === channel);
  const form = useStep(props, {
    initial: { template_id: campaign.template_id ?? "" },
    write: ({ template_id: template }) => ({ template_id: template || null }),
  });
  const chosen = form.values.template_id;
  return (
    <StepForm label={t("step_content")} form={form as never}>
      <Stack maw={480}>
        <NativeSelect
          {...form.field("template_id")}
          label={t("template")}
          data={[
            { value: "", label: t("templateChoose") },
            ...(templates ?? []).map(({ id, name }) => ({ value: id, label: name })),
          ]}
        />
        {templates?.length === 0 && (
          <Text size="sm">
            {t("noTemplates")}{" "}
            <Anchor component={Link} to="/templates">
              {t("newTemplate")}
            </Anchor>
          </Text>
        )}
        {chosen && (
          <Anchor component={Link} to={`/templates/${chosen}` as "/templates"} size="sm">
            {t("openTemplate")}
          </Anchor>
        )}
      </Stack>
      {campaign.template_id && chosen === campaign.template_id && <MessagePreview campaign={campaign} />}
    </StepForm>
  );
}
