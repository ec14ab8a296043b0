/** Name, purpose and connection of a campaign. */
import { NativeSelect, Stack, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { connectionNamesQuery } from "@/api/campaigns";
import { StepForm, type StepProps, useStep } from "./StepForm";
import { t } from "./texts";

const PURPOSES = ["promotional", "transactional"] as const;

export function BasicsStep(props: StepProps) {
  const { campaign } = props;
  const connections = useQuery(connectionNamesQuery).data?.data ?? [];
  const form = useStep(props, {
    initial: {
      name: campaign.name,
      purpose: campaign.purpose as (typeof PURPOSES)[number],
      connection_id: campaign.connection_id ?? "",
    },
    write: ({ connection_id: connection, ...rest }) => ({ ...rest, connection_id: connection || null }),
  });
  const channel = campaign.channel === "webhook" ? "event" : campaign.channel;
  return (
    <StepForm label={t("step_basics")} form={form as never}>
      <Stack maw={480}>
        <TextInput {...form.field("name")} label={t("name")} required withAsterisk={false} maxLength={100} />
        <NativeSelect
          {...form.field("purpose")}
          label={t("purpose")}
          data={PURPOSES.map((value) => ({ value, label: t(`purpose_${value}`) }))}
        />
        <NativeSelect
          {...form.field("connection_id")}
          label={t("connection")}
          description={t("connectionHint")}
          data={[
            { value: "", label: t("connectionAny") },
            ...connections.filter((one) => one.channel === channel).map(({ id, name }) => ({ value: id, label: name })),
          ]}
        />
      </Stack>
    </StepForm>
  );
}
