/** Two versions of a template, and what differs between them in each field. */
import { Anchor, Group, NativeSelect, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { type Template, templateQuery } from "@/api/templates";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { useFilters } from "@/parts/useFilters";
import { LineDiff } from "./LineDiff";
import { has, t } from "./texts";

/** A template keeps up to 10,000 versions; a list of so many is no choice. */
const MOST = 200;

export function VersionsPage() {
  const { id } = useParams({ from: "/app/templates/$id/versions" });
  const filters = useFilters("from", "to");
  const current = useQuery(templateQuery(id));
  const newest = current.data?.current_version;
  const to = Number(filters.values.to) || newest;
  const from = Number(filters.values.from) || Math.max((to ?? 1) - 1, 1);
  const before = useQuery({ ...templateQuery(id, from), enabled: newest !== undefined });
  const after = useQuery({ ...templateQuery(id, to), enabled: newest !== undefined });
  const choice = (name: "from" | "to", value: number | undefined) => (
    <NativeSelect
      label={t(name === "from" ? "versionBefore" : "versionAfter")}
      value={String(value)}
      onChange={(event) => filters.set(name, event.currentTarget.value)}
      data={versions(newest ?? 1).map((one) => ({
        value: String(one),
        label: t("versionOf", { version: one === newest ? "now" : one }),
      }))}
    />
  );
  return (
    <Page
      title={t("differences", { name: current.data?.name ?? id })}
      area={t("title")}
      actions={<CopyAsCurl path={`/v1/templates/${id}`} query={{ version: from }} />}
    >
      <Anchor component={Link} to="/templates/$id" params={{ id } as never} size="sm">
        {t("backToTemplate")}
      </Anchor>
      <States query={current}>
        {() => (
          <>
            <Group align="flex-end">
              {choice("from", from)}
              {choice("to", to)}
              <Anchor
                component={Link}
                to="/templates/$id"
                params={{ id } as never}
                search={(from === newest ? {} : { version: String(from) }) as never}
                size="sm"
                pb={8}
              >
                {t("openVersion", { version: from })}
              </Anchor>
            </Group>
            <States query={before}>
              {(old) => <States query={after}>{(now) => <Differences before={old} after={now} />}</States>}
            </States>
          </>
        )}
      </States>
    </Page>
  );
}

const versions = (newest: number) => Array.from({ length: Math.min(newest, MOST) }, (_, index) => newest - index);

interface Difference {
  variant: string;
  field: string;
  before: string;
  after: string;
}

/** A value of a content as the lines that are compared. */
const lines = (value: unknown): string => {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  const empty = typeof value === "object" && Object.keys(value).length === 0;
  return empty ? "" : JSON.stringify(value, null, 2);
};

/** Returns the fields that differ, of all variants of both versions. */
export function differences(before: Template, after: Template): Difference[] {
  const fields = ({ variants }: Template, name: string): Record<string, unknown> => {
    const variant = variants.find((one) => one.name === name);
    return variant ? { ...(variant.content as Record<string, unknown>), weight: variant.weight } : {};
  };
  const names = new Set([...before.variants, ...after.variants].map(({ name }) => name));
  return [...names].flatMap((variant) => {
    const [old, now] = [fields(before, variant), fields(after, variant)];
    return [...new Set([...Object.keys(old), ...Object.keys(now)])]
      .map((field) => ({ variant, field, before: lines(old[field]), after: lines(now[field]) }))
      .filter((one) => one.before !== one.after);
  });
}

/** The words that the form has for the fields of a content. */
const WORDS: Readonly<Record<string, string>> = {
  reply_to: "replyTo",
  click_url: "clickUrl",
  media_urls: "mediaUrls",
};

function nameOf(field: string): string {
  const key = WORDS[field] ?? field;
  return has(key) ? t(key) : field;
}

function Differences({ before, after }: { before: Template; after: Template }) {
  const found = differences(before, after);
  const several = new Set(found.map(({ variant }) => variant)).size > 1 || after.variants.length > 1;
  if (found.length === 0) return <Text role="status">{t("noDifferences")}</Text>;
  return (
    <Stack>
      {found.map(({ variant, field, before: old, after: now }) => {
        const title = several ? t("fieldOfVariant", { field: nameOf(field), variant }) : nameOf(field);
        return (
          <Section key={`${variant} ${field}`} title={title}>
            <LineDiff label={title} before={old} after={now} />
          </Section>
        );
      })}
    </Stack>
  );
}
