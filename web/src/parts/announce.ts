/** Says something to screen readers: one live region for the whole page, which the shell shows. */

type Listener = (text: string) => void;

let listener: Listener = () => undefined;

export function announce(text: string): void {
  listener(text);
}

export function onAnnounce(next: Listener): () => void {
  listener = next;
  return () => {
    listener = () => undefined;
  };
}
