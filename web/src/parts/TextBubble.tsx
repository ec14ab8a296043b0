/** A text message as a phone shows it, and how many parts it is sent in. */
import { Paper, Text } from "@mantine/core";
import type { Schemas } from "@/api/client";
import { Details } from "./Details";
import { t } from "./texts";

export function TextBubble({ text, sms }: { text: string; sms: Schemas["SmsMeasure"] }) {
  return (
    <>
      <Paper
        component="section"
        aria-label={t("bubble")}
        withBorder
        p="sm"
        radius="lg"
        maw={340}
        style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}
      >
        {text}
      </Paper>
      <Details
        rows={[
          [t("encoding"), sms.encoding],
          [t("units"), t("unitsOf", { n: sms.units, of: sms.units_per_part })],
          [t("parts"), String(sms.parts)],
        ]}
      />
      {sms.forcing.length > 0 && <Text size="sm">{t("forcing", { characters: sms.forcing.join(" ") })}</Text>}
    </>
  );
}
