/** All segments. */
import { Anchor, Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Schemas } from "@/api/client";
import { useMay } from "@/api/me";
import { segmentsQuery } from "@/api/segments";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { type Column, Listing } from "@/parts/Listing";
import { Page } from "@/parts/Page";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { t } from "./texts";

type Row = Schemas["Segment"];

const COLUMNS: Column<Row>[] = [
  {
    id: "name",
    title: t("name"),
    cell: ({ id, name }) => (
      <Anchor component={Link} to="/segments/$id" params={{ id } as never}>
        {name}
      </Anchor>
    ),
  },
  {
    id: "tracked",
    title: t("tracked"),
    cell: ({ tracked, complete }) => t(!tracked ? "no" : complete ? "yes" : "filling"),
  },
  { id: "version", title: t("version"), cell: ({ version }) => version, numeric: true, wide: true },
  { id: "changed", title: t("changed"), cell: (one) => <Time at={one.updated_at} />, wide: true },
  { id: "created", title: t("created"), cell: (one) => <Time at={one.created_at} />, wide: true },
];

export function SegmentsPage() {
  const { after } = useFilters();
  const segments = useQuery(segmentsQuery(after));
  const may = useMay()("people.write");
  useLive(["segments", "list"]);
  const make = may && <Button renderRoot={(props) => <Link to="/segments/new" {...props} />}>{t("newSegment")}</Button>;
  return (
    <Page
      title={t("title")}
      lead={t("lead")}
      actions={
        <>
          <CopyAsCurl path="/v1/segments" />
          {make}
        </>
      }
    >
      <Listing
        label={t("title")}
        query={segments}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{
          title: t("noSegments"),
          hint: t("noSegmentsHint"),
          children: make || undefined,
          example: curl({
            method: "POST",
            path: "/v1/segments",
            body: { name: "On pro", condition: { trait: "plan", is: "pro" } },
          }),
        }}
      />
    </Page>
  );
}
