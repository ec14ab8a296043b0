/** Short words about what was done, with an undo where there is one. `toast` can be called from anywhere. */
import { Button, CloseButton, Paper, Text } from "@mantine/core";
import { useEffect, useSyncExternalStore } from "react";
import { Problem } from "@/api/problem";
import { announce } from "./announce";
import { t } from "./texts";
import classes from "./toasts.module.css";

interface Toast {
  id: number;
  text: string;
  error?: boolean;
  undo?: () => void;
}

/** Long enough to read it and reach the button. */
const STAYS_MS = 10_000;

let toasts: readonly Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function change(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

const drop = (id: number) => change(toasts.filter((one) => one.id !== id));

export function toast(text: string, options: { error?: boolean; undo?: () => void } = {}): void {
  last += 1;
  change([...toasts.slice(-2), { id: last, text, ...options }]);
  announce(text);
}

/** Says why something failed that has no form to say it in. */
export function toastError(error: unknown): void {
  const message = error instanceof Problem ? error.detail : error instanceof Error ? error.message : String(error);
  toast(message, { error: true });
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <section aria-label={t("notifications")} className={classes.stack}>
      {shown.map((one) => (
        <Message key={one.id} toast={one} />
      ))}
    </section>
  );
}

function Message({ toast: { id, text, error, undo } }: { toast: Toast }) {
  useEffect(() => {
    // An error stays until it is dismissed: it may have to be written down.
    if (error) return;
    const timer = setTimeout(() => drop(id), STAYS_MS);
    return () => clearTimeout(timer);
  }, [id, error]);
  return (
    <Paper withBorder shadow="md" p="xs" ps="md" className={classes.message} data-error={error || undefined}>
      <Text size="sm" className={classes.text}>
        {text}
      </Text>
      {undo && (
        <Button
          size="compact-sm"
          variant="subtle"
          onClick={() => {
            drop(id);
            undo();
          }}
        >
          {t("undo")}
        </Button>
      )}
      <CloseButton aria-label={t("dismiss")} onClick={() => drop(id)} />
    </Paper>
  );
}
