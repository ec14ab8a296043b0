/** A button that asks, deletes the thing of a page, and goes to the list of its kind. */
import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { confirm, type Question } from "./dialogs";
import { toast, toastError } from "./toasts";

interface Props {
  /** Its verb is the text of the button, unless `label` says more. */
  question: Question;
  label?: string;
  remove: () => Promise<unknown>;
  /** What is said when it is done. */
  done: string;
  /** The list. */
  to: string;
  /** The queries of the thing, which begin with the noun of its list: `["segments", id]`. */
  queryKey: readonly [string, string];
}

export function DeleteButton({ question, label, remove, done, to, queryKey }: Props) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const removal = useMutation({
    mutationFn: remove,
    onSuccess: async () => {
      toast(done);
      await navigate({ to, ignoreBlocker: true });
      queries.removeQueries({ queryKey });
      void queries.invalidateQueries({ queryKey: [queryKey[0]] });
    },
    onError: toastError,
  });

  async function ask() {
    if (await confirm({ ...question, danger: true })) removal.mutate();
  }

  return (
    <Button variant="default" c="red" onClick={() => void ask()} loading={removal.isPending}>
      {label ?? question.action}
    </Button>
  );
}
