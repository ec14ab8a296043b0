/** Who gets a campaign, and who does not. */
import { Checkbox, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { Audience } from "@/api/campaigns";
import { someListsQuery } from "@/api/lists";
import { allSegmentsQuery } from "@/api/segments";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { StepForm, type StepProps, useStep } from "./StepForm";
import { t } from "./texts";

export function AudienceStep(props: StepProps) {
  const { audience, exclude } = props.campaign;
  const form = useStep(props, { initial: { audience, exclude }, write: (values) => values });
  return (
    <StepForm label={t("step_audience")} form={form as never}>
      <Chooser
        title={t("include")}
        lead={t("includeLead")}
        value={form.values.audience}
        error={form.errors.audience}
        change={(next) => form.set("audience", next)}
      />
      <Chooser
        title={t("exclude")}
        lead={t("excludeLead")}
        value={form.values.exclude}
        error={form.errors.exclude}
        change={(next) => form.set("exclude", next)}
      />
    </StepForm>
  );
}

interface Props {
  title: string;
  lead: string;
  value: Audience;
  error?: string;
  change: (next: Audience) => void;
}

function Chooser({ title, lead, value, error, change }: Props) {
  const lists = useQuery(someListsQuery);
  const segments = useQuery(allSegmentsQuery);
  return (
    <Section title={title} lead={lead}>
      <Stack>
        <Checkbox.Group
          label={t("lists")}
          value={value.lists ?? []}
          onChange={(chosen) => change({ ...value, lists: chosen })}
        >
          <States query={lists} isEmpty={() => false}>
            {({ data }) => (
              <Stack gap={6} mt="xs" mah={240} style={{ overflowY: "auto" }}>
                {data.length === 0 && <Text size="sm">{t("noLists")}</Text>}
                {data.map(({ id, name, members }) => (
                  <Checkbox
                    key={id}
                    value={id}
                    label={name}
                    description={t("subscribers", { n: members.subscribed })}
                  />
                ))}
              </Stack>
            )}
          </States>
        </Checkbox.Group>
        <Checkbox.Group
          label={t("segments")}
          value={value.segments ?? []}
          onChange={(chosen) => change({ ...value, segments: chosen })}
          error={error}
        >
          <States query={segments} isEmpty={() => false}>
            {({ data }) => (
              <Stack gap={6} mt="xs" mah={240} style={{ overflowY: "auto" }}>
                {data.length === 0 && <Text size="sm">{t("noSegments")}</Text>}
                {data.map(({ id, name }) => (
                  <Checkbox key={id} value={id} label={name} />
                ))}
              </Stack>
            )}
          </States>
        </Checkbox.Group>
      </Stack>
    </Section>
  );
}
