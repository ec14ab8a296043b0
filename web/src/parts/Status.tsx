/** A state as a word in its colour: the word says it, the colour helps. */
import { Badge } from "@mantine/core";

const COLOURS: Readonly<Record<string, string>> = {
  active: "green",
  ok: "green",
  healthy: "green",
  passed: "green",
  sent: "blue",
  delivered: "green",
  opened: "green",
  clicked: "green",
  done: "green",
  completed: "green",
  finished: "green",
  subscribed: "green",
  live: "green",
  running: "blue",
  sending: "blue",
  queued: "blue",
  accepted: "blue",
  pending: "blue",
  scheduled: "blue",
  degraded: "orange",
  throttled: "orange",
  paused: "orange",
  unknown: "orange",
  retrying: "orange",
  failed: "red",
  failing: "red",
  dead: "red",
  bounced: "red",
  complained: "red",
  rejected: "red",
  disabled: "red",
  expired: "red",
};

export function Status({ value, label }: { value: string; label?: string }) {
  const colour = COLOURS[value.toLowerCase()] ?? "gray";
  // The colours of the library are too pale for small text (WCAG 1.4.3).
  const text = `light-dark(color-mix(in srgb, var(--mantine-color-${colour}-9) 65%, black), var(--mantine-color-${colour}-2))`;
  return (
    <Badge color={colour} c={text} variant="light" tt="none" miw="max-content">
      {label ?? value.replaceAll("_", " ")}
    </Badge>
  );
}
