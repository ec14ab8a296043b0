/** The template of a campaign, with how a person would get it. */
import { Anchor, NativeSelect, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { templateNamesQuery } from "@/api/templates";
import { Goal, Tracking, Utm, Winner } from "./ContentFields";
import { type Extras, readExtras, winnerLacks, writeExtras } from "./extras";
import { MessagePreview } from "./MessagePreview";
import { StepForm, type StepProps, useStep } from "./StepForm";
import { t } from "./texts";

function winnerText(extras: Extras): string | undefined {
  const lacks = winnerLacks(extras);
  return lacks && t(lacks);
}

/** Places whose error stands beside their field. */
const BESIDE = [
  ...["test.sample", "test.winner_by", "test.after", "test.minimum"],
  ...["conversion", "conversion.event", "conversion.within"],
  ...["utm.source", "utm.medium", "utm.campaign"],
];

export function ContentStep(props: StepProps) {
  const { campaign } = props;
  const [person, setPerson] = useState<string>();
  const channel = campaign.channel === "webhook" ? "event" : campaign.channel;
  const templates = useQuery(templateNamesQuery).data?.data.filter((one) => one.channel === channel);
  // Who has it got it as it was: these cannot change any more.
  const begun = campaign.state === "live" || campaign.occurrences.length > 0;
  const form = useStep(props, {
    initial: { template_id: campaign.template_id ?? "", extras: readExtras(campaign) },
    write: ({ template_id: template, extras }) => ({
      template_id: template || null,
      ...(!begun && writeExtras(extras)),
    }),
    checks: { extras: (extras) => (extras.winner ? winnerText(extras) : undefined) },
    names: { utm: "extras", tracking: "extras", test: "extras", conversion: "extras" },
  });
  const chosen = form.values.template_id;
  const variants = templates?.find(({ id }) => id === chosen)?.variants ?? [];
  const part = {
    value: form.values.extras,
    change: (next: Extras) => form.set("extras", next),
    errorAt: form.errorAt,
  };
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
      {!begun && (
        <>
          {(variants.length > 1 || form.values.extras.winner) && <Winner {...part} channel={campaign.channel} />}
          <Goal {...part} />
          <Utm {...part} />
          {campaign.channel === "email" && <Tracking {...part} />}
          {form.errors.extras && !BESIDE.some(form.errorAt) && (
            <Text size="sm" c="var(--mantine-color-error)" role="alert">
              {form.errors.extras}
            </Text>
          )}
        </>
      )}
      {campaign.template_id && chosen === campaign.template_id && (
        <MessagePreview campaign={campaign} person={person} choose={setPerson} />
      )}
    </StepForm>
  );
}
