/** One segment: its condition, which can be changed, and who fits it now. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { changeSegment, deleteSegment, type Segment, segmentQuery } from "@/api/segments";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { DeleteButton } from "@/parts/DeleteButton";
import { Edited, useEdit } from "@/parts/Edited";
import { States } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { SegmentForm } from "./SegmentForm";
import { SegmentFrame } from "./SegmentFrame";
import { t } from "./texts";

export function SegmentPage() {
  const { id } = useParams({ from: "/app/segments/$id" });
  const segment = useQuery(segmentQuery(id));
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
        {(found) => (
          <Edited data={found} theirs={fieldsOf}>
            {(one) => <Form segment={one} readOnly={!may} />}
          </Edited>
        )}
      </States>
    </SegmentFrame>
  );
}

const fieldsOf = ({ name, condition, tracked }: Segment) => ({ name, condition, tracked });

function Form({ segment, readOnly }: { segment: Segment; readOnly: boolean }) {
  const queries = useQueryClient();
  const { version, saved } = useEdit();
  return (
    <SegmentForm
      start={fieldsOf(segment)}
      action={t("save")}
      readOnly={readOnly}
      send={(fields) => changeSegment(segment.id, fields, version)}
      done={(changed) => {
        toast(t("saved"));
        saved(changed.updated_at);
        void queries.invalidateQueries({ queryKey: ["segments"] });
      }}
    />
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
