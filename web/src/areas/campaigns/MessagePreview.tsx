/** The message of a campaign as the server renders it, for a person who can be chosen. */
import { Paper, Stack, Text } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { type Campaign, campaignPreviewQuery, samplePeopleQuery } from "@/api/campaigns";
import type { Schemas } from "@/api/client";
import { useMay } from "@/api/me";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { HtmlFrame } from "@/parts/HtmlFrame";
import { Json } from "@/parts/Json";
import { PersonField } from "@/parts/PersonField";
import { personName } from "@/parts/personName";
import { Loading } from "@/parts/States";
import { TextBubble } from "@/parts/TextBubble";
import { t } from "./texts";

interface Props {
  campaign: Campaign;
  person: string | undefined;
  choose: (person: string | undefined) => void;
}

export function MessagePreview({ campaign, person, choose }: Props) {
  const may = useMay()("people.read");
  const people = useQuery({ ...samplePeopleQuery(campaign.audience), enabled: may }).data ?? [];
  const preview = useQuery({
    ...campaignPreviewQuery(campaign.id, campaign.version, person ? { profile_id: person } : {}),
    placeholderData: keepPreviousData,
  });
  return (
    <Section title={t("preview")} lead={person ? undefined : t("previewLead")}>
      <Stack>
        <PersonField change={choose} samples={people.map((one) => ({ id: one.id, name: personName(one) }))} />
        {preview.error ? (
          <FormProblem problem={preview.error} />
        ) : preview.data ? (
          <Shown preview={preview.data} />
        ) : (
          <Loading />
        )}
      </Stack>
    </Section>
  );
}

function Shown({ preview: { content, undefined: missing, sms } }: { preview: Schemas["CampaignPreview"] }) {
  return (
    <div>
      {content.subject && (
        <Text size="sm">
          {t("subject")}: <b>{content.subject}</b>
        </Text>
      )}
      {content.html ? (
        <HtmlFrame html={content.html} title={t("previewTitle")} />
      ) : sms ? (
        <TextBubble text={content.text ?? ""} sms={sms} />
      ) : content.text ? (
        <Paper withBorder p="sm" radius="lg" maw={360} style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
          {content.text}
        </Paper>
      ) : (
        <Json value={content} label={t("previewTitle")} />
      )}
      {missing.length > 0 && (
        <Text size="sm" c="dimmed" mt="xs">
          {t("undefined", { names: [...new Set(missing.map(({ name }) => name))].join(", ") })}
        </Text>
      )}
    </div>
  );
}
