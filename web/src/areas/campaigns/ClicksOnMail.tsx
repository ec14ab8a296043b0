/** The mail of a campaign with the clicks on each of its links. */
import { NativeSelect, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { type Campaign, campaignPreviewQuery, type Overview } from "@/api/campaigns";
import { Section } from "@/parts/Details";
import { HtmlFrame } from "@/parts/HtmlFrame";
import { markClicks } from "./marks";
import { t } from "./texts";

export function ClicksOnMail({ campaign, of }: { campaign: Campaign; of: Overview }) {
  const [variant, setVariant] = useState("");
  const variants = of.variants.map((one) => one.variant);
  const preview = useQuery({
    ...campaignPreviewQuery(campaign.id, campaign.version, { variant: variant || variants[0] }),
    enabled: campaign.channel === "email" && campaign.template_id !== null && of.clicks.links.length > 0,
  });
  const html = preview.data?.content.html;
  const { links } = of.clicks;
  const marked = useMemo(
    () => (html ? markClicks(html, links, (n) => t("onMailLink", { n })) : undefined),
    [html, links],
  );
  if (!marked) return null;
  return (
    <Section title={t("onMail")} lead={t("onMailLead")}>
      {variants.length > 1 && (
        <NativeSelect
          maw={240}
          label={t("variant")}
          value={variant || variants[0]}
          onChange={(event) => setVariant(event.currentTarget.value)}
          data={variants}
        />
      )}
      <HtmlFrame html={marked.html} title={t("onMailTitle")} />
      {marked.missing.length > 0 && (
        <Text size="sm" c="dimmed" style={{ overflowWrap: "anywhere" }}>
          {t("notOnMail", { links: marked.missing.join(", ") })}
        </Text>
      )}
    </Section>
  );
}
