/** How the server renders what is being written, for a person: as a mail, a text message, or data. */
import { Alert, Checkbox, Group, SegmentedControl, Stack, Text } from "@mantine/core";
import "@mantine/core/styles/FloatingIndicator.css";
import "@mantine/core/styles/SegmentedControl.css";
import { useState } from "react";
import type { TemplatePreview } from "@/api/templates";
import { formatBytes } from "@/locales/format";
import { CodeBlock } from "@/parts/CodeBlock";
import { Details, Section } from "@/parts/Details";
import { HtmlFrame } from "@/parts/HtmlFrame";
import { Json } from "@/parts/Json";
import { TextBubble } from "@/parts/TextBubble";
import { lintMail } from "./lints";
import { t } from "./texts";

interface Props {
  preview: TemplatePreview | undefined;
  /** Why there is none. */
  error: string | undefined;
}

const PHONE = 390;

export function PreviewPane({ preview, error }: Props) {
  return (
    <Section title={t("preview")}>
      {error && (
        <Alert color="red" role="status" mb="sm">
          {error}
        </Alert>
      )}
      {preview ? <Shown preview={preview} /> : !error && <Text size="sm">{t("incomplete")}</Text>}
    </Section>
  );
}

function Shown({ preview: { content, undefined: missing, sms } }: { preview: TemplatePreview }) {
  const problems = [
    // The text part is made from the HTML, and lacks the same.
    ...missing
      .filter(({ name }, index) => missing.findIndex((one) => one.name === name) === index)
      .map(({ name, field, line, column }) =>
        field === "mjml"
          ? t("undefined", { name })
          : `${t("undefined", { name })} (${t("at", { field, line, column })})`,
      ),
    ...(content.html ? lintMail(content.html) : []),
  ];
  return (
    <Stack>
      {content.subject !== undefined && (
        <Details
          rows={[
            [t("subject"), content.subject],
            [t("preheader"), content.preheader],
          ]}
        />
      )}
      {content.html ? (
        <Mail html={content.html} text={content.text ?? ""} />
      ) : sms ? (
        <TextBubble text={content.text ?? ""} sms={sms} />
      ) : content.metric ? (
        <Json value={{ metric: content.metric, properties: content.properties }} label={t("channel_event")} />
      ) : (
        <CodeBlock text={content.text ?? ""} label={t("plain")} wrap />
      )}
      {problems.length > 0 && (
        <Alert color="orange" title={t("problems")}>
          <ul style={{ margin: 0, paddingInlineStart: "1.2rem" }}>
            {problems.map((problem) => (
              <li key={problem}>{problem}</li>
            ))}
          </ul>
        </Alert>
      )}
    </Stack>
  );
}

function Mail({ html, text }: { html: string; text: string }) {
  const [view, setView] = useState("desktop");
  const [dark, setDark] = useState(false);
  const [images, setImages] = useState(false);
  return (
    <>
      <Group>
        <SegmentedControl
          aria-label={t("width")}
          size="xs"
          value={view}
          onChange={setView}
          data={(["desktop", "phone", "plain"] as const).map((one) => ({ value: one, label: t(one) }))}
        />
        <Checkbox
          size="xs"
          label={t("dark")}
          checked={dark}
          onChange={(event) => setDark(event.currentTarget.checked)}
        />
        <Checkbox
          size="xs"
          label={t("images")}
          checked={images}
          onChange={(event) => setImages(event.currentTarget.checked)}
        />
        <Text size="xs" c="dimmed">
          {t("size")}: {formatBytes(new Blob([html]).size)}
        </Text>
      </Group>
      {view === "plain" ? (
        <CodeBlock text={text} hiddenLabel={t("plain")} wrap />
      ) : (
        <HtmlFrame
          html={html}
          title={t("previewOf")}
          dark={dark}
          images={images}
          width={view === "phone" ? PHONE : undefined}
        />
      )}
    </>
  );
}
