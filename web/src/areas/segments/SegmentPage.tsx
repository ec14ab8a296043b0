/** One segment: its condition, which can be changed, and who fits it now. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { changeSegment, deleteSegment, type Segment, segmentQuery } from "@/api/segments";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { DeleteButton } from "@/parts/DeleteButton";
import { States } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { SegmentForm } from "./SegmentForm";
import { SegmentFrame } from "./SegmentFrame";
import { t } from "./texts";

export function SegmentPage() {
  const { id } = useParams({ from: "/app/segments/$id" });
  const segment = useQuery(segmentQuery(id));
  const queries = useQueryClient();
  const may = useMay()("people.write");
  return (
    <SegmentFrame
      id={id}
      title={segment.data?.name ?? id}
      actions={
        <>
          <CopyAsCurl path={`/v1/segments/${id}`} />
          {may && segment.data && <Delete segment={segment.data} />}
        </>
      }
    >
      <States query={segment}>
        {(one) => (
          <SegmentForm
            key={one.version}
            start={{ name: one.name, condition: one.condition, tracked: one.tracked }}
            action={t("save")}
            readOnly={!may}
            send={(fields) => changeSegment(id, fields)}
            done={() => {
              toast(t("saved"));
              void queries.invalidateQueries({ queryKey: ["segments"] });
            }}
          />
        )}
      </States>
    </SegmentFrame>
  );
}

function Delete({ segment: { id, name } }: { segment: Segment }) {
  return (
    <DeleteButton
      question={{ title: t("deleteQuestion", { name }), body: t("deleteBody"), action: t("delete") }}
      remove={() => deleteSegment(id)}
      done={t("deleted", { name })}
      to="/segments"
      queryKey={["segments", id]}
    />
  );
}
