/** All imports, and the way to a new one. */
import { Anchor, Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { type Import, importsQuery } from "@/api/imports";
import { useMay } from "@/api/me";
import { formatDateTime } from "@/locales/format";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { type Column, Listing } from "@/parts/Listing";
import { Status } from "@/parts/Status";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { NewImport } from "./NewImport";
import { PeopleFrame } from "./PeopleFrame";
import { t } from "./texts";

const COLUMNS: Column<Import>[] = [
  {
    id: "began",
    title: t("import"),
    cell: ({ id, created_at: at }) => (
      <Anchor component={Link} to="/people/imports/$id" params={{ id } as never}>
        {formatDateTime(new Date(at))}
      </Anchor>
    ),
  },
  { id: "kind", title: t("kind"), cell: (one) => t(one.dry_run ? "dryRun" : "real") },
  { id: "state", title: t("state"), cell: ({ state }) => <Status value={state} /> },
  { id: "source", title: t("source"), cell: ({ source }) => source, wide: true },
  { id: "imported", title: t("imported"), cell: ({ imported }) => <Count of={imported} />, numeric: true },
  { id: "new", title: t("newPeople"), cell: ({ created }) => <Count of={created} />, numeric: true, wide: true },
  { id: "rejected", title: t("rejected"), cell: ({ rejected }) => <Count of={rejected} />, numeric: true, wide: true },
];

export function ImportsPage() {
  const { after } = useFilters();
  const imports = useQuery(importsQuery(after));
  const may = useMay()("people.write");
  const [making, setMaking] = useState(false);
  useLive(["imports"]);
  const make = may && !making && <Button onClick={() => setMaking(true)}>{t("newImport")}</Button>;
  return (
    <PeopleFrame
      title={t("imports")}
      actions={
        <>
          <CopyAsCurl path="/v1/imports" />
          {make}
        </>
      }
    >
      {making && <NewImport close={() => setMaking(false)} />}
      <Listing
        label={t("imports")}
        query={imports}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{
          title: t("noImports"),
          hint: t("noImportsHint"),
          children: make || undefined,
          example: `curl -H "Authorization: Bearer $KEY" -H "Content-Type: text/csv" --data-binary @people.csv '${window.location.origin}/v1/imports?source=fair&dry_run=true'`,
        }}
      />
    </PeopleFrame>
  );
}
