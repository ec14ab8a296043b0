/** API + Connectors: where the API is, and the ways to webhooks and to connections. */
import { Anchor, Button, Group, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { CodeBlock } from "@/parts/CodeBlock";
import { Section } from "@/parts/Details";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./texts";

const FLAT = [
  { name: "addOpens", type: "email.opened" },
  { name: "addClicks", type: "email.clicked" },
] as const;

export function ApiPage() {
  const may = useMay();
  return (
    <SettingsFrame>
      <Section title={t("apiTitle")} lead={t("apiLead")}>
        <CodeBlock label={t("apiAddress")} text={window.location.origin} wrap />
        <Group>
          {may("keys.read") && (
            <Anchor component={Link} to="/settings/keys">
              {t("apiKeys")}
            </Anchor>
          )}
          <Anchor href="/openapi.json" target="_blank" rel="noopener">
            {t("apiDescription")}
          </Anchor>
        </Group>
      </Section>
      <Section title={t("webhooks")} lead={t("webhooksLead")}>
        <Group>
          <Anchor component={Link} to="/webhooks">
            {t("allWebhooks")}
          </Anchor>
          {may("webhooks.write") && (
            <Button component={Link} to="/webhooks/new">
              {t("addWebhook")}
            </Button>
          )}
        </Group>
        {may("webhooks.write") && (
          <>
            <Text size="sm">{t("flatLead")}</Text>
            <Group>
              {FLAT.map(({ name, type }) => (
                <Button
                  key={type}
                  component={Link}
                  to="/webhooks/new"
                  search={{ format: "pinpointe", types: type } as never}
                  variant="default"
                >
                  {t(name)}
                </Button>
              ))}
            </Group>
          </>
        )}
      </Section>
      {may("connections.read") && (
        <Section title={t("connectors")} lead={t("connectorsLead")}>
          <Group>
            <Anchor component={Link} to="/connections">
              {t("connections")}
            </Anchor>
            {may("connections.write") && (
              <Button component={Link} to="/connections/new">
                {t("addConnection")}
              </Button>
            )}
          </Group>
        </Section>
      )}
    </SettingsFrame>
  );
}
