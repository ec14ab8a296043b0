/** The fields of a content, by its channel. */
import { Button, Group, Menu, SegmentedControl, Stack, Text, Textarea, TextInput } from "@mantine/core";
import "@mantine/core/styles/FloatingIndicator.css";
import "@mantine/core/styles/SegmentedControl.css";
import { useMemo, useRef } from "react";
import { BLOCKS, type BlockName } from "./blocks";
import { CodeEditor } from "./CodeEditor";
import { type BodyKind, type Fields, jsonProblem } from "./content";
import type { EditorProps, Finding, Value } from "./EditorView";
import { SenderField } from "./SenderField";
import { t } from "./texts";

interface Props {
  channel: string;
  fields: Fields;
  change: (next: Fields) => void;
  findings: (field: string) => Finding[];
  /** What completion offers. */
  values: readonly Value[];
  readOnly: boolean;
}

export function ContentFields({ channel, fields, change, findings, values, readOnly }: Props) {
  const line = (name: "subject" | "preheader" | "sender" | "reply_to" | "click_url" | "metric") => ({
    value: fields[name],
    onChange: (event: { currentTarget: { value: string } }) => change({ ...fields, [name]: event.currentTarget.value }),
    readOnly,
  });
  const code = (name: "mjml" | "html" | "text" | "properties", language: EditorProps["language"]) => (
    <Code
      key={name}
      name={name}
      language={language}
      value={fields[name]}
      change={(next) => change({ ...fields, [name]: next })}
      found={findings(name)}
      values={values}
      readOnly={readOnly}
    />
  );
  if (channel === "event") {
    const wrong = jsonProblem(fields.properties);
    return (
      <Stack>
        <TextInput {...line("metric")} label={t("metric")} />
        {code("properties", "json")}
        {wrong !== undefined && (
          <Text size="sm" c="var(--mantine-color-error)" role="alert">
            {t("invalidJson", { message: wrong })}
          </Text>
        )}
      </Stack>
    );
  }
  if (channel === "sms") {
    return (
      <Stack>
        {code("text", "text")}
        <TextInput {...line("click_url")} label={t("clickUrl")} description={t("clickUrlHint")} />
      </Stack>
    );
  }
  return (
    <Stack>
      <TextInput
        {...line("subject")}
        label={t("subject")}
        rightSectionWidth={110}
        rightSection={
          <Text size="xs" c="dimmed">
            {t("characters", { n: fields.subject.length })}
          </Text>
        }
      />
      <TextInput {...line("preheader")} label={t("preheader")} description={t("preheaderHint")} />
      <Group align="flex-start" grow>
        <SenderField fields={fields} change={change} readOnly={readOnly} />
        <TextInput {...line("reply_to")} label={t("replyTo")} />
      </Group>
      <SegmentedControl
        aria-label={t("body")}
        value={fields.kind}
        onChange={(kind) => change({ ...fields, kind: kind as BodyKind })}
        data={(["mjml", "html", "text"] as const).map((kind) => ({ value: kind, label: t(`body_${kind}`) }))}
        readOnly={readOnly}
      />
      {fields.kind === "text" ? (
        code("text", "text")
      ) : (
        <>
          {code(fields.kind, "html")}
          <Textarea
            label={t("mailText")}
            description={t("mailTextHint")}
            value={fields.text}
            onChange={(event) => change({ ...fields, text: event.currentTarget.value })}
            rows={4}
            readOnly={readOnly}
          />
        </>
      )}
    </Stack>
  );
}

interface CodeProps {
  name: "mjml" | "html" | "text" | "properties";
  language: EditorProps["language"];
  value: string;
  change: (next: string) => void;
  found: Finding[];
  values: readonly Value[];
  readOnly: boolean;
}

function Code({ name, language, value, change, found, values, readOnly }: CodeProps) {
  const insert = useRef<(text: string) => void>(undefined);
  const blocks = name === "properties" ? [] : (Object.entries(BLOCKS[name]) as [BlockName, string][]);
  // The same findings are the same array: the editor would mark them again at every key.
  const named = JSON.stringify(found);
  const findings = useMemo(() => JSON.parse(named) as Finding[], [named]);
  return (
    <div>
      <Group justify="space-between" mb={4}>
        <Text size="sm" fw={500}>
          {t(name)}
        </Text>
        {blocks.length > 0 && !readOnly && (
          <Menu>
            <Menu.Target>
              <Button size="compact-xs" variant="default">
                {t("insert")}
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              {blocks.map(([block, text]) => (
                <Menu.Item key={block} onClick={() => insert.current?.(text)}>
                  {t(`block_${block}`)}
                </Menu.Item>
              ))}
            </Menu.Dropdown>
          </Menu>
        )}
      </Group>
      <CodeEditor
        label={t(name)}
        value={value}
        onChange={change}
        language={language}
        findings={findings}
        values={values}
        readOnly={readOnly}
        onReady={(run) => {
          insert.current = run;
        }}
      />
      {findings
        .filter(({ severity }) => severity === "error")
        .map(({ text }) => (
          <Text key={text} size="sm" c="var(--mantine-color-error)" role="alert">
            {text}
          </Text>
        ))}
    </div>
  );
}
