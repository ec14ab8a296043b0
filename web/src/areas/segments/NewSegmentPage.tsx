/** Makes a segment. */
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { createSegment } from "@/api/segments";
import { Page } from "@/parts/Page";
import { SegmentForm } from "./SegmentForm";
import { t } from "./texts";

/** The first row is there to be filled in. */
const START = { name: "", condition: { all: [{ trait: "", is: "" }] }, tracked: true };

export function NewSegmentPage() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  return (
    <Page title={t("newSegment")} area={t("title")}>
      <SegmentForm
        start={START}
        action={t("create")}
        send={createSegment}
        done={({ id }) => {
          void queries.invalidateQueries({ queryKey: ["segments"] });
          void navigate({ to: "/segments/$id", params: { id }, ignoreBlocker: true });
        }}
      />
    </Page>
  );
}
