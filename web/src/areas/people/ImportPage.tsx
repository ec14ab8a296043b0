/** One import: how far it is, what became of the rows, and the rejected ones as a file. */
import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { cancelImport, importQuery } from "@/api/imports";
import { useMay } from "@/api/me";
import { formatDateTime } from "@/locales/format";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { toast, toastError } from "@/parts/toasts";
import { ImportResult } from "./ImportResult";
import { PeopleFrame } from "./PeopleFrame";
import { t } from "./texts";

export function ImportPage() {
  const { id } = useParams({ from: "/app/people/imports/$id" });
  const query = useQuery(importQuery(id));
  const queries = useQueryClient();
  const may = useMay()("people.write");
  const cancel = useMutation({
    mutationFn: () => cancelImport(id),
    onSuccess: () => {
      toast(t("stopped"));
      void queries.invalidateQueries({ queryKey: ["imports"] });
    },
    onError: toastError,
  });
  const at = query.data?.created_at;
  return (
    <PeopleFrame
      title={at ? t("importOf", { at: formatDateTime(new Date(at)) }) : id}
      actions={
        <>
          <CopyAsCurl path={`/v1/imports/${id}`} />
          {may && query.data?.state === "running" && (
            <Button variant="default" onClick={() => cancel.mutate()} loading={cancel.isPending}>
              {t("stop")}
            </Button>
          )}
        </>
      }
    >
      <States query={query}>
        {(one) => (
          <Section title={t("progress")}>
            <ImportResult of={one} />
          </Section>
        )}
      </States>
    </PeopleFrame>
  );
}
