/** The people of a segment, evaluated now. */
import { Anchor } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { type SegmentPerson, segmentMembersQuery, segmentQuery } from "@/api/segments";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { type Column, Listing } from "@/parts/Listing";
import { personName } from "@/parts/personName";
import { useFilters } from "@/parts/useFilters";
import { SegmentFrame } from "./SegmentFrame";
import { t } from "./texts";

const COLUMNS: Column<SegmentPerson>[] = [
  {
    id: "person",
    title: t("person"),
    cell: (one) => (
      <Anchor component={Link} to="/people/$id" params={{ id: one.id } as never}>
        {personName(one)}
      </Anchor>
    ),
  },
  { id: "phone", title: t("phone"), cell: ({ phone }) => phone ?? "–", wide: true },
  { id: "user", title: t("userId"), cell: ({ user_id: user }) => user ?? "–", wide: true },
];

export function SegmentMembersPage() {
  const { id } = useParams({ from: "/app/segments/$id/members" });
  const { after } = useFilters();
  const segment = useQuery(segmentQuery(id));
  const members = useQuery(segmentMembersQuery(id, after));
  return (
    <SegmentFrame
      id={id}
      title={segment.data?.name ?? id}
      actions={<CopyAsCurl path={`/v1/segments/${id}/members`} query={{ after }} />}
    >
      <Listing
        label={t("members")}
        query={members}
        columns={COLUMNS}
        rowKey={(one) => one.id}
        empty={{ title: t("noMembers"), hint: t("noMembersHint") }}
      />
    </SegmentFrame>
  );
}
