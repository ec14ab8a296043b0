/** The error of a form that belongs to no field, above its button. */
import { Alert } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { Problem } from "@/api/problem";
import { t } from "./texts";

interface Props {
  problem: Error | null;
  /** Words for a code of the API that say more here than its own detail. */
  words?: (problem: Problem) => ReactNode | undefined;
}

export function FormProblem({ problem, words }: Props) {
  if (!problem) return null;
  const said = problem instanceof Problem ? (words?.(problem) ?? problem.detail) : problem.message;
  return (
    <Alert color="red" role="alert" icon={<IconAlertTriangle aria-hidden />}>
      {said}
      {problem instanceof Problem && problem.requestId && <div>{t("requestId", { id: problem.requestId })}</div>}
    </Alert>
  );
}
