/** The page /connections/new: the gallery of connectors, then the form of the chosen one. */
import { Badge, Button, Group, Paper, SimpleGrid, Stack, Text, TextInput, Title } from "@mantine/core";
import "@mantine/core/styles/SimpleGrid.css";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { type Connector, connectorsQuery } from "@/api/connections";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { useFilters } from "@/parts/useFilters";
import { NewConnection } from "./NewConnection";
import { has, t } from "./texts";

export function NewConnectionPage() {
  const name = useFilters("connector").values.connector;
  const query = useQuery(connectorsQuery);
  const chosen = query.data?.data.find((connector) => connector.name === name);
  return (
    <Page
      key={chosen?.name}
      title={chosen ? t("newOf", { provider: chosen.label }) : t("newConnection")}
      area={t("title")}
      lead={chosen ? chosen.description : t("galleryLead")}
      actions={
        chosen && (
          <Button component={Link} to="/connections/new" variant="default">
            {t("another")}
          </Button>
        )
      }
    >
      <States query={query}>
        {({ data }) =>
          chosen ? <NewConnection key={chosen.name} connector={chosen} /> : <Gallery connectors={data} />
        }
      </States>
    </Page>
  );
}

function Gallery({ connectors }: { connectors: Connector[] }) {
  const [search, setSearch] = useState("");
  const wanted = search.trim().toLowerCase();
  const found = connectors.filter(({ name, label, description, channel }) =>
    `${name} ${label} ${description} ${channel}`.toLowerCase().includes(wanted),
  );
  return (
    <Stack>
      <TextInput
        type="search"
        label={t("search")}
        value={search}
        onChange={(event) => setSearch(event.currentTarget.value)}
        maw={320}
      />
      {found.length === 0 && <Text>{t("noneFound")}</Text>}
      <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }} component="section" aria-label={t("gallery")}>
        {found.map(({ name, label, description, channel, own }) => {
          const words = `channel_${channel}`;
          return (
            <Paper key={name} withBorder radius="md" p="md" component="article">
              <Stack gap="xs" h="100%">
                <Title order={2} size="h4">
                  {label}
                </Title>
                <Group gap={4}>
                  <Badge variant="light" color="gray" tt="none">
                    {has(words) ? t(words) : channel}
                  </Badge>
                  {own && (
                    <Badge variant="light" tt="none">
                      {t("own")}
                    </Badge>
                  )}
                </Group>
                <Text size="sm" c="dimmed" style={{ flexGrow: 1 }}>
                  {description}
                </Text>
                <div>
                  <Button component={Link} to="/connections/new" search={{ connector: name } as never} size="xs">
                    {t("choose", { name: label })}
                  </Button>
                </div>
              </Stack>
            </Paper>
          );
        })}
      </SimpleGrid>
    </Stack>
  );
}
