/** Shortcuts of one key, as long as the part that has them is shown; not while somebody types, and not if switched off. */
import { useEffect, useRef } from "react";

const OFF = "waypost.single-keys-off";

export function singleKeysAreOff(): boolean {
  try {
    return localStorage.getItem(OFF) === "1";
  } catch {
    return false;
  }
}

export function switchSingleKeys(on: boolean): void {
  try {
    if (on) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } catch {
    // Without storage they stay on.
  }
}

/** Whether a key goes into a field, or belongs to a dialog or menu. */
function isTaken(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  if (!target?.closest) return false;
  return (
    target.isContentEditable ||
    target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [role=dialog], [role=menu]") !==
      null
  );
}

export function useKey(key: string, run: () => void): void {
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.key !== key || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (isTaken(event) || singleKeysAreOff()) return;
      event.preventDefault();
      latest.current();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, [key]);
}

/** How long after the first key of a sequence the second one counts. */
const SEQUENCE_MS = 1500;

/** Two keys, one after the other: `g`, then the key of a page. */
export function useSequence(first: string, seconds: Readonly<Record<string, () => void>>): void {
  const latest = useRef(seconds);
  latest.current = seconds;
  useEffect(() => {
    let begun = Number.NEGATIVE_INFINITY;
    // In the capture phase: a page may have a shortcut of the second key alone.
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTaken(event) || singleKeysAreOff()) return;
      const run = event.timeStamp - begun < SEQUENCE_MS ? latest.current[event.key] : undefined;
      begun = event.key === first && !run ? event.timeStamp : Number.NEGATIVE_INFINITY;
      if (!run) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      run();
    };
    document.addEventListener("keydown", listen, true);
    return () => document.removeEventListener("keydown", listen, true);
  }, [first]);
}

/** Ctrl or Cmd with a key; works while typing too. */
export function useCommandKey(key: string, run: () => void, enabled = true): void {
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    if (!enabled) return;
    const listen = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== key || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey)
        return;
      event.preventDefault();
      latest.current();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, [key, enabled]);
}
