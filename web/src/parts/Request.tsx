/** A request as it was sent, and the response that came: line, headers, body. */
import { Badge, Group, Stack, Table, Text, Title } from "@mantine/core";
import { formatNumber } from "@/locales/format";
import { CodeBlock } from "./CodeBlock";
import { t } from "./texts";

export type HeaderList = Readonly<Record<string, string>> | readonly (readonly [string, string])[];

export interface RequestProps {
  method: string;
  url: string;
  headers?: HeaderList;
  /** Text as sent; an object is shown as JSON. */
  body?: unknown;
}

export interface ResponseProps {
  status?: number | null;
  headers?: HeaderList;
  body?: unknown;
  milliseconds?: number | null;
  /** Why no response came. */
  error?: string | null;
}

export function RequestView({ method, url, headers, body }: RequestProps) {
  return (
    <Stack gap="sm">
      <Title order={3} size="h5">
        {t("request")}
      </Title>
      <CodeBlock text={`${method} ${url}`} hiddenLabel={t("request")} wrap />
      <Headers headers={headers} />
      <Body body={body} />
    </Stack>
  );
}

export function ResponseView({ status, headers, body, milliseconds, error }: ResponseProps) {
  return (
    <Stack gap="sm">
      <Group gap="sm">
        <Title order={3} size="h5">
          {t("response")}
        </Title>
        {status != null && <Badge color={status < 300 ? "green" : status < 500 ? "orange" : "red"}>{status}</Badge>}
        {milliseconds != null && (
          <Text size="sm" c="dimmed">
            {t("milliseconds", { n: formatNumber(milliseconds) })}
          </Text>
        )}
      </Group>
      {error && <Text size="sm">{t("noResponse", { reason: error })}</Text>}
      {status != null && (
        <>
          <Headers headers={headers} />
          <Body body={body} />
        </>
      )}
    </Stack>
  );
}

function Headers({ headers }: { headers?: HeaderList }) {
  if (!headers) return null;
  const rows = Array.isArray(headers) ? headers : Object.entries(headers);
  if (rows.length === 0) return <Text size="sm">{t("noHeaders")}</Text>;
  return (
    <Table captionSide="top" layout="fixed">
      <caption>{t("headers")}</caption>
      <tbody>
        {rows.map(([name, value], index) => (
          // Headers may be repeated, and their order never changes.
          // biome-ignore lint/suspicious/noArrayIndexKey: there is no other key.
          <tr key={index}>
            <Table.Th scope="row" w="35%" style={{ overflowWrap: "anywhere" }}>
              {name}
            </Table.Th>
            <Table.Td style={{ overflowWrap: "anywhere", fontFamily: "var(--mantine-font-family-monospace)" }}>
              {value}
            </Table.Td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

function Body({ body }: { body: unknown }) {
  if (body === undefined || body === null || body === "") return <Text size="sm">{t("noBody")}</Text>;
  return <CodeBlock label={t("body")} text={typeof body === "string" ? pretty(body) : JSON.stringify(body, null, 2)} />;
}

/** Returns JSON with line breaks, and any other text as it is. */
function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
