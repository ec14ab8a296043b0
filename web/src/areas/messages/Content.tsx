/** What a message says: a text as it is, an email in a frame that runs and loads nothing. */
import { Checkbox, Paper, Text } from "@mantine/core";
import { useState } from "react";
import type { Schemas } from "@/api/client";
import type { MessageDetail } from "@/api/messages";
import { Details, Section } from "@/parts/Details";
import { HtmlFrame } from "@/parts/HtmlFrame";
import { Json } from "@/parts/Json";
import { t } from "./texts";

export function Content({ message: { content, to } }: { message: MessageDetail }) {
  const [images, setImages] = useState(false);
  if (!content) return <Section title={t("content")} lead={t("noContent")} />;
  const { text, subject, sender, reply_to, html, media_urls, metric, properties } = content as Schemas["Content"];
  return (
    <Section title={t("content")} lead={t("contentLead")}>
      <Details
        rows={[
          [t("subject"), subject || undefined],
          [t("sender"), sender || undefined],
          [t("replyTo"), reply_to || undefined],
          [t("media"), media_urls?.length ? media_urls.join(", ") : undefined],
        ]}
      />
      {html && (
        <>
          <Checkbox
            label={t("images")}
            description={t("imagesHint")}
            checked={images}
            onChange={(event) => setImages(event.currentTarget.checked)}
          />
          <HtmlFrame html={html} title={t("htmlOf", { to })} images={images} />
        </>
      )}
      {text && !html && (
        <Paper withBorder p="sm" radius="md" maw={420} component="section" aria-label={t("text")}>
          <Text style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>{text}</Text>
        </Paper>
      )}
      {(metric || properties) && <Json label={t("allContent")} value={content} />}
    </Section>
  );
}
