/** A code editor that is loaded when it is shown. */
import { Skeleton } from "@mantine/core";
import { lazy, Suspense } from "react";
import type { EditorProps } from "./EditorView";
import { t } from "./texts";

const View = lazy(() => import("./EditorView"));

export function CodeEditor(props: EditorProps) {
  return (
    <Suspense fallback={<Skeleton height={320} role="status" aria-busy aria-label={t("loadingEditor")} />}>
      <View {...props} />
    </Suspense>
  );
}
