/** Questions before something that cannot be taken back. `confirm` can be called from anywhere; the shell shows them. */
import { Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { type ReactNode, useState, useSyncExternalStore } from "react";
import { t } from "./texts";

export interface Question {
  /** Names the thing: "Delete the endpoint https://…?" */
  title: string;
  /** The consequences, in numbers where there are some. */
  body?: ReactNode;
  /** The verb of the button: "Delete". */
  action: string;
  danger?: boolean;
  /** What must be typed first: for a workspace, a list with members, a profile that is erased. */
  typed?: string;
}

interface Open extends Question {
  answer: (yes: boolean) => void;
}

let open: Open | null = null;
const listeners = new Set<() => void>();

function change(next: Open | null): void {
  open = next;
  for (const listener of listeners) listener();
}

/** Asks; resolves to whether the person agreed. */
export function confirm(question: Question): Promise<boolean> {
  open?.answer(false);
  return new Promise((resolve) => {
    change({
      ...question,
      answer: (yes) => {
        change(null);
        resolve(yes);
      },
    });
  });
}

export function Dialogs() {
  const question = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => open,
  );
  return (
    <Modal
      opened={question !== null}
      onClose={() => question?.answer(false)}
      title={question?.title}
      closeButtonProps={{ "aria-label": t("close") }}
      centered
    >
      {question && <Ask key={question.title} question={question} />}
    </Modal>
  );
}

function Ask({ question: { body, action, danger, typed, answer } }: { question: Open }) {
  const [text, setText] = useState("");
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!typed || text === typed) answer(true);
      }}
    >
      <Stack>
        {body && <div>{body}</div>}
        {typed && (
          <TextInput
            label={t("typeToConfirm", { text: typed })}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            autoComplete="off"
            data-autofocus
          />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={() => answer(false)} data-autofocus={(danger && !typed) || undefined}>
            {t("cancel")}
          </Button>
          <Button type="submit" color={danger ? "red" : undefined} disabled={typed !== undefined && text !== typed}>
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
