/** The form of a template: its variants, their contents, and the preview of the one that is written. */
import { Button, Group, NativeSelect, SimpleGrid, Stack, TextInput } from "@mantine/core";
import "@mantine/core/styles/SimpleGrid.css";
import { useState } from "react";
import type { Schemas } from "@/api/client";
import { useMay } from "@/api/me";
import type { Activity } from "@/api/metrics";
import { FormProblem } from "@/parts/FormProblem";
import { PersonField } from "@/parts/PersonField";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import { ContentFields } from "./ContentFields";
import { type Fields, jsonProblem, writeContent } from "./content";
import { EventField } from "./EventField";
import { PreviewPane } from "./PreviewPane";
import { TestForm } from "./TestForm";
import { t } from "./texts";
import { usePreview } from "./usePreview";
import { useSeen } from "./useSeen";

type Variant = Schemas["TemplateVariantInput"];

interface Props<Result> {
  channel: string;
  start: { name: string; variants: Fields[] };
  action: string;
  readOnly?: boolean;
  send: (name: string, variants: Variant[]) => Promise<Result>;
  done: (result: Result) => void;
}

export function TemplateForm<Result>({ channel, start, action, readOnly = false, send, done }: Props<Result>) {
  const [at, setAt] = useState(0);
  const [typedPerson, setPerson] = useState<string>();
  const [event, setEvent] = useState<Activity>();
  const person = typedPerson ?? event?.person?.id;
  const seen = useSeen(event?.data);
  const may = useMay();
  const form = useForm({
    initial: start,
    send: ({ name, variants }) =>
      send(
        name,
        variants.map((one) => ({
          name: one.name,
          weight: Number(one.weight),
          content: writeContent(channel, one),
        })),
      ),
    checks: {
      variants: (all) => {
        const wrong =
          channel === "event" ? all.map(({ properties }) => jsonProblem(properties)).find(Boolean) : undefined;
        return wrong && t("invalidJson", { message: wrong });
      },
    },
    done,
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit);
  const { variants } = form.values;
  const shown = Math.min(at, variants.length - 1);
  const fields = variants[shown] as Fields;
  const change = (next: Fields) => form.set("variants", variants.with(shown, next));
  const content = channel === "event" && jsonProblem(fields.properties) ? undefined : writeContent(channel, fields);
  const empty = content === undefined || Object.keys(content).length === 0;
  const { preview, error, findings } = usePreview(channel, empty ? undefined : content, {
    ...(person && { profile_id: person }),
    ...(event && { event_id: event.id }),
  });

  function add() {
    form.set("variants", [...variants, { ...fields, name: nextName(variants) }]);
    setAt(variants.length);
  }

  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="lg">
      <form {...form.form} aria-label={t("content")}>
        <Stack>
          <TextInput {...form.field("name")} label={t("name")} required withAsterisk={false} readOnly={readOnly} />
          <Group align="flex-end">
            {variants.length > 1 && (
              <>
                <NativeSelect
                  label={t("variant")}
                  value={String(shown)}
                  onChange={(event) => setAt(Number(event.currentTarget.value))}
                  data={variants.map(({ name }, index) => ({ value: String(index), label: name }))}
                />
                <TextInput
                  label={t("variantName")}
                  value={fields.name}
                  onChange={(event) => change({ ...fields, name: event.currentTarget.value })}
                  readOnly={readOnly}
                />
                <TextInput
                  label={t("weight")}
                  w={90}
                  inputMode="decimal"
                  value={fields.weight}
                  onChange={(event) => change({ ...fields, weight: event.currentTarget.value })}
                  readOnly={readOnly}
                />
              </>
            )}
            {!readOnly && (
              <Button variant="default" size="xs" onClick={add}>
                {t("addVariant")}
              </Button>
            )}
            {!readOnly && variants.length > 1 && (
              <Button variant="default" size="xs" onClick={() => form.set("variants", variants.toSpliced(shown, 1))}>
                {t("removeVariant")}
              </Button>
            )}
          </Group>
          <ContentFields
            key={shown}
            channel={channel}
            fields={fields}
            change={change}
            findings={findings}
            values={seen}
            readOnly={readOnly}
          />
          <FormProblem problem={form.problem ?? (form.errors.variants ? new Error(form.errors.variants) : null)} />
          {!readOnly && (
            <Group>
              <Button type="submit" loading={form.pending}>
                {action}
              </Button>
            </Group>
          )}
        </Stack>
      </form>
      <Stack>
        <PersonField change={setPerson} />
        <EventField change={setEvent} />
        <PreviewPane preview={empty ? undefined : preview} error={error} />
        {may("messages.send") && content && !empty && (
          <TestForm channel={channel} content={content} person={person} event={event} />
        )}
      </Stack>
    </SimpleGrid>
  );
}

/** A, B, C …: the first that is free. */
function nextName(variants: readonly Fields[]): string {
  for (let code = 66; ; code++) {
    const name = String.fromCharCode(code);
    if (!variants.some((one) => one.name === name)) return name;
  }
}
