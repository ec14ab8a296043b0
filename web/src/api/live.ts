/** One stream of the server per tab, which says that something has changed. Open while anybody listens and looks. */
import { currentWorkspace } from "./workspace";

type Listener = () => void;

const listeners = new Set<Listener>();
let source: EventSource | null = null;

function update(): void {
  const wanted = listeners.size > 0 && !document.hidden && "EventSource" in globalThis;
  if (wanted && !source) {
    const workspace = currentWorkspace();
    source = new EventSource(`/v1/stream${workspace ? `?workspace=${encodeURIComponent(workspace)}` : ""}`);
    source.addEventListener("changed", () => {
      for (const listener of listeners) listener();
    });
  } else if (!wanted && source) {
    source.close();
    source = null;
  }
}

/** Calls a function whenever something has changed; returns the function that ends this. */
export function onChange(listener: Listener): () => void {
  if (listeners.size === 0) document.addEventListener("visibilitychange", update);
  listeners.add(listener);
  update();
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) document.removeEventListener("visibilitychange", update);
    update();
  };
}
