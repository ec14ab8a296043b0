/** Imports a file in steps: choose it, let the server check it, correct what its columns become, import it. */
import { Button, Checkbox, FileInput, Group, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { importQuery, startImport } from "@/api/imports";
import { someListsQuery } from "@/api/lists";
import { Problem } from "@/api/problem";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { Failed } from "@/parts/States";
import { ImportResult } from "./ImportResult";
import { type Given, Mapping } from "./Mapping";
import { t } from "./texts";

export function NewImport({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const lists = useQuery(someListsQuery).data?.data ?? [];
  const [file, setFile] = useState<File | null>(null);
  const [list, setList] = useState("");
  const [source, setSource] = useState("");
  const [confirmed, setConfirmed] = useState(false);
  const [map, setMap] = useState<Given>({});
  const [missing, setMissing] = useState<{ file?: string; source?: string }>({});

  const send = (dryRun: boolean) =>
    startImport(file as File, {
      list,
      source: source.trim(),
      confirmed,
      dryRun,
      map: Object.keys(map).length > 0 ? map : undefined,
    });
  const check = useMutation({
    mutationFn: async () => ({ id: (await send(true)).id, map, list, file }),
  });
  const checked = check.data;
  const result = useQuery({ ...importQuery(checked?.id ?? ""), enabled: checked !== undefined });
  const start = useMutation({
    mutationFn: () => send(false),
    onSuccess: async ({ id }) => {
      void queries.invalidateQueries({ queryKey: ["imports"] });
      await navigate({ to: "/people/imports/$id", params: { id } });
    },
  });

  function submit() {
    const found = { file: file ? undefined : t("fileNeeded"), source: source.trim() ? undefined : t("sourceNeeded") };
    setMissing(found);
    if (!found.file && !found.source) check.mutate();
  }

  const refused = check.error instanceof Problem ? check.error.extra.columns : undefined;
  // A file that no column identifies people in is refused with the names of its columns, so that one can be chosen.
  const columns = Array.isArray(refused)
    ? refused.map((name) => ({ name: String(name), target: undefined }))
    : result.data?.columns;
  const current = checked !== undefined && checked.map === map && checked.list === list && checked.file === file;
  const done = result.data?.state === "done";
  return (
    <Section title={t("newImport")} lead={t("newImportLead")}>
      <form
        aria-label={t("newImport")}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Stack>
          <Stack maw={520}>
            <FileInput
              label={t("file")}
              description={t("fileHint")}
              value={file}
              onChange={(chosen) => {
                setFile(chosen);
                setMap({});
                check.reset();
              }}
              error={missing.file}
              accept=".csv,.tsv,.txt,.ndjson,.jsonl,.gz"
              clearable
              clearButtonProps={{ "aria-label": t("remove") }}
            />
            <TextInput
              label={t("source")}
              description={t("sourceHint")}
              value={source}
              onChange={(event) => setSource(event.currentTarget.value)}
              error={missing.source}
              maxLength={64}
            />
            <NativeSelect
              label={t("intoList")}
              value={list}
              onChange={(event) => setList(event.currentTarget.value)}
              data={[
                { value: "", label: t("noListChosen") },
                ...lists.map(({ id, name }) => ({ value: id, label: name })),
              ]}
            />
            <Checkbox
              label={t("confirmed")}
              description={t("confirmedHint")}
              checked={confirmed}
              onChange={(event) => setConfirmed(event.currentTarget.checked)}
            />
          </Stack>
          {check.error && <FormProblem problem={check.error} />}
          {result.isError && <Failed error={result.error} retry={() => void result.refetch()} />}
          {result.data && checked && (
            <section aria-label={t("checkedTitle")}>
              <ImportResult of={result.data} />
              {done && (
                <Text role="status" mt="sm">
                  {t("checked", {
                    rows: result.data.rows,
                    imported: result.data.imported,
                    rejected: result.data.rejected,
                  })}
                </Text>
              )}
            </section>
          )}
          {columns && columns.length > 0 && <Mapping columns={columns} given={map} change={setMap} />}
          {start.error && <FormProblem problem={start.error} />}
          {checked && !current && <Text size="sm">{t("mappingChanged")}</Text>}
          <Group>
            {done && current && result.data && result.data.imported > 0 ? (
              <Button type="button" onClick={() => start.mutate()} loading={start.isPending}>
                {t("start", { n: result.data.imported })}
              </Button>
            ) : (
              <Button type="submit" loading={check.isPending}>
                {t(checked ? "checkAgain" : "check")}
              </Button>
            )}
            <Button variant="default" onClick={close}>
              {t("cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
