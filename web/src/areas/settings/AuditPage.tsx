/** The audit log: who changed what, from where, and what differs. */
import { Button, Modal, Stack, Text, UnstyledButton } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type AuditEntry, type AuditFilters, auditQuery, exportAudit } from "@/api/audit";
import { useMay } from "@/api/me";
import { usersQuery } from "@/api/users";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Details, Section } from "@/parts/Details";
import { download } from "@/parts/download";
import { DayFilter, dayBegins, FilterBar, SelectFilter, TextFilter } from "@/parts/FilterBar";
import { Json } from "@/parts/Json";
import { type Column, Listing } from "@/parts/Listing";
import { Time } from "@/parts/Time";
import { toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import classes from "./AuditPage.module.css";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./texts";

const words = (action: string) => action.replaceAll("_", " ");
const who = ({ actor: { kind, name } }: AuditEntry) => t("actorKind", { kind, name });

export function AuditPage() {
  const filters = useFilters("actor", "action", "q", "since", "until");
  const asked = {
    ...filters.query,
    since: dayBegins(filters.query.since),
    until: dayBegins(filters.query.until, 1),
    after: filters.after,
  };
  const query = useQuery(auditQuery(asked));
  const may = useMay()("users.read");
  const people = useQuery({ ...usersQuery(), enabled: may }).data?.data ?? [];
  const [open, setOpen] = useState<AuditEntry>();
  const columns: Column<AuditEntry>[] = [
    {
      id: "action",
      title: t("action"),
      cell: (entry) => (
        <UnstyledButton className={classes.open} onClick={() => setOpen(entry)}>
          {words(entry.action)}
        </UnstyledButton>
      ),
    },
    { id: "resource", title: t("resource"), cell: ({ resource }) => <code>{resource}</code>, wide: true },
    { id: "actor", title: t("actor"), cell: who },
    { id: "at", title: t("when"), cell: ({ at }) => <Time at={at} /> },
    { id: "ip", title: t("address"), cell: ({ ip }) => ip ?? "–", wide: true },
  ];
  return (
    <SettingsFrame>
      <Section
        title={t("audit")}
        lead={t("auditLead")}
        actions={
          <>
            <CopyAsCurl path="/v1/audit" query={asked} />
            {(["csv", "ndjson"] as const).map((format) => (
              <ExportButton key={format} format={format} filters={asked} />
            ))}
          </>
        }
      >
        <FilterBar>
          <TextFilter label={t("search")} value={filters.values.q} onChange={(value) => filters.set("q", value)} />
          <TextFilter
            label={t("action")}
            value={filters.values.action}
            onChange={(value) => filters.set("action", value)}
          />
          <SelectFilter
            label={t("actor")}
            value={filters.values.actor}
            onChange={(value) => filters.set("actor", value)}
            options={people.map(({ id, name, email }) => ({ value: id, label: name || email }))}
          />
          <DayFilter label={t("from_day")} value={filters.values.since} onChange={(day) => filters.set("since", day)} />
          <DayFilter label={t("to_day")} value={filters.values.until} onChange={(day) => filters.set("until", day)} />
        </FilterBar>
        <Listing
          label={t("audit")}
          query={query}
          columns={columns}
          rowKey={({ id }) => id}
          empty={{ title: t("noChanges"), hint: t("noChangesHint") }}
          clearFilters={filters.clear}
        />
      </Section>
      <Modal
        opened={open !== undefined}
        onClose={() => setOpen(undefined)}
        title={open && t("details", { action: words(open.action), resource: open.resource })}
        closeButtonProps={{ "aria-label": t("close") }}
        size="xl"
      >
        {open && <Entry entry={open} />}
      </Modal>
    </SettingsFrame>
  );
}

const MEDIA_TYPES = { csv: "text/csv", ndjson: "application/x-ndjson" } as const;

function ExportButton({ format, filters }: { format: "csv" | "ndjson"; filters: AuditFilters }) {
  const save = useMutation({
    mutationFn: () => exportAudit(format, filters),
    onSuccess: (text) => download(`waypost-audit.${format}`, String(text), MEDIA_TYPES[format]),
    onError: toastError,
  });
  return (
    <Button variant="default" size="xs" onClick={() => save.mutate()} loading={save.isPending}>
      {t("exportAs", { format })}
    </Button>
  );
}

function Entry({ entry }: { entry: AuditEntry }) {
  return (
    <Stack>
      <Details
        rows={[
          [t("actor"), who(entry)],
          [t("when"), <Time key="at" at={entry.at} exact />],
          [t("address"), entry.ip ?? undefined],
          [t("resource"), <code key="resource">{entry.resource}</code>],
        ]}
      />
      {(["before", "after"] as const).map((side) =>
        entry[side] == null ? (
          <Text key={side} size="sm" c="dimmed">
            {t(side)}: {t("nothing")}
          </Text>
        ) : (
          <Json key={side} label={t(side)} value={entry[side]} />
        ),
      )}
    </Stack>
  );
}
