/** The content of a template as its form edits it, and back. */
import type { TemplateContent } from "@/api/templates";

export type BodyKind = "mjml" | "html" | "text";

/** All fields as texts; those of other channels stay empty. */
export interface Fields {
  name: string;
  weight: string;
  subject: string;
  preheader: string;
  sender: string;
  reply_to: string;
  kind: BodyKind;
  mjml: string;
  html: string;
  text: string;
  click_url: string;
  metric: string;
  properties: string;
  /** What the form has no fields for, as it was. */
  rest: TemplateContent;
}

const START_MJML = `<mjml>
  <mj-body>
    <mj-section>
      <mj-column>
        <mj-text font-size="20px">Hello {{ person.first_name | default: 'there' }}</mj-text>
        <mj-text>Write what you want to say.</mj-text>
        <mj-text font-size="12px"><a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>
`;

export function startFields(channel: string): Fields {
  const empty = readContent(channel, "default", 1, {});
  if (channel === "email") return { ...empty, kind: "mjml", mjml: START_MJML };
  return channel === "event" ? { ...empty, properties: "{\n  \n}" } : empty;
}

export function readContent(channel: string, name: string, weight: number, content: TemplateContent): Fields {
  const { subject, preheader, sender, reply_to, mjml, html, text, click_url, metric, properties, ...rest } = content;
  return {
    name,
    weight: String(weight),
    subject: subject ?? "",
    preheader: preheader ?? "",
    sender: sender ?? "",
    reply_to: reply_to ?? "",
    kind: mjml ? "mjml" : html ? "html" : channel === "email" && text ? "text" : "mjml",
    mjml: mjml ?? "",
    html: html ?? "",
    text: text ?? "",
    click_url: click_url ?? "",
    metric: metric ?? "",
    properties: properties ? JSON.stringify(properties, null, 2) : "{}",
    rest,
  };
}

const given = (fields: TemplateContent): TemplateContent =>
  Object.fromEntries(
    Object.entries(fields).filter(([, value]) =>
      Array.isArray(value) ? value.length > 0 : value !== "" && value !== null && value !== undefined,
    ),
  );

/** Throws for properties that are no JSON. */
export function writeContent(channel: string, fields: Fields): TemplateContent {
  const { subject, preheader, sender, reply_to, kind, mjml, html, text, click_url, metric, properties, rest } = fields;
  if (channel === "event") return given({ ...rest, metric, properties: JSON.parse(properties) });
  if (channel === "sms") return given({ ...rest, text, click_url });
  return given({
    ...rest,
    subject,
    preheader,
    sender,
    reply_to,
    text,
    ...(kind === "mjml" && { mjml }),
    ...(kind === "html" && { html }),
  });
}

export function jsonProblem(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? undefined : text.slice(0, 20);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
