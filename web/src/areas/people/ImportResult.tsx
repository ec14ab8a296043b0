/** How far an import or a check is, and its numbers. */
import { Alert, Button, Progress, Stack, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type Import, rejectedRows } from "@/api/imports";
import { formatPercent } from "@/locales/format";
import { Count } from "@/parts/Count";
import { Details } from "@/parts/Details";
import { download } from "@/parts/download";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { toastError } from "@/parts/toasts";
import { t } from "./texts";

export function ImportResult({ of: one }: { of: Import }) {
  const share = one.state === "done" ? 1 : one.bytes === 0 ? 0 : one.bytes_read / one.bytes;
  const rejected = useMutation({
    mutationFn: () => rejectedRows(one.id),
    onSuccess: (text) => download(`${one.id}-rejected.csv`, String(text), "text/csv"),
    onError: toastError,
  });
  return (
    <Stack>
      <Progress value={share * 100} aria-label={t("progress")} animated={one.state === "running"} />
      <Text size="sm" role="status">
        {one.state === "running" && one.dry_run ? t("checking") : t("progressOf", { share: formatPercent(share) })}
      </Text>
      {one.reason && (
        <Alert color="red" title={t("reason")}>
          {one.detail ?? one.reason}
        </Alert>
      )}
      <Details
        rows={[
          [t("state"), <Status key="state" value={one.state} />],
          [t("kind"), t(one.dry_run ? "dryRun" : "real")],
          [t("rows"), <Count key="rows" of={one.rows} />],
          [t("imported"), <Count key="imported" of={one.imported} />],
          // A check creates nobody, so it cannot tell who would be new.
          [t("newPeople"), one.dry_run ? undefined : <Count key="new" of={one.created} />],
          [t("rejected"), <Count key="rejected" of={one.rejected} />],
          [t("source"), one.source],
          [t("format"), t("readAs", { format: one.format, encoding: one.encoding || "–" })],
          [t("began"), <Time key="began" at={one.created_at} exact />],
          [t("ended"), one.ended_at ? <Time key="ended" at={one.ended_at} exact /> : undefined],
        ]}
      />
      {one.rejected > 0 && (
        <div>
          <Button variant="default" size="xs" onClick={() => rejected.mutate()} loading={rejected.isPending}>
            {t("downloadRejected")}
          </Button>
        </div>
      )}
    </Stack>
  );
}
