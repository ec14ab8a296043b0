/** The message of a campaign as the server renders it. */
import { Paper, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type Campaign, campaignPreviewQuery } from "@/api/campaigns";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { HtmlFrame } from "@/parts/HtmlFrame";
import { Json } from "@/parts/Json";
import { t } from "./texts";

export function MessagePreview({ campaign }: { campaign: Campaign }) {
  const preview = useQuery(campaignPreviewQuery(campaign.id, campaign.version));
  if (preview.error) return <FormProblem problem={preview.error} />;
  if (!preview.data) return null;
  const { content, undefined: missing } = preview.data;
  return (
    <Section title={t("preview")} lead={t("previewLead")}>
      {content.subject && (
        <Text size="sm">
          {t("subject")}: <b>{content.subject}</b>
        </Text>
      )}
      {content.html ? (
        <HtmlFrame html={content.html} title={t("previewTitle")} />
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
    </Section>
  );
}
