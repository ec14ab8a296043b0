/** All templates. */
import { Anchor, Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { type Template, type TemplateChannel, templatesQuery } from "@/api/templates";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { type Column, Listing } from "@/parts/Listing";
import { Page } from "@/parts/Page";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { t } from "./texts";

const COLUMNS: Column<Template>[] = [
  {
    id: "name",
    title: t("name"),
    cell: ({ id, name }) => (
      <Anchor component={Link} to="/templates/$id" params={{ id } as never}>
        {name}
      </Anchor>
    ),
  },
  { id: "channel", title: t("channel"), cell: ({ channel }) => t(`channel_${channel as TemplateChannel}`) },
  { id: "version", title: t("version"), cell: ({ version }) => version, numeric: true, wide: true },
  { id: "variants", title: t("variants"), cell: ({ variants }) => variants.length, numeric: true, wide: true },
  { id: "changed", title: t("changed"), cell: (one) => <Time at={one.updated_at} />, wide: true },
  { id: "created", title: t("created"), cell: (one) => <Time at={one.created_at} />, wide: true },
];

export function TemplatesPage() {
  const { after } = useFilters();
  const templates = useQuery(templatesQuery(after));
  const may = useMay()("templates.write");
  useLive(["templates", "list"]);
  const make = may && (
    <Button renderRoot={(props) => <Link to="/templates/new" {...props} />}>{t("newTemplate")}</Button>
  );
  return (
    <Page
      title={t("title")}
      lead={t("lead")}
      actions={
        <>
          <CopyAsCurl path="/v1/templates" />
          {make}
        </>
      }
    >
      <Listing
        label={t("title")}
        query={templates}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{
          title: t("noTemplates"),
          hint: t("noTemplatesHint"),
          children: make || undefined,
          example: curl({
            method: "POST",
            path: "/v1/templates",
            body: { name: "Welcome", channel: "sms", text: "Hello {{ person.first_name }}" },
          }),
        }}
      />
    </Page>
  );
}
