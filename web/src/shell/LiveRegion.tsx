/** The one live region of the page: what `announce` says is read aloud. */
import { useEffect, useState } from "react";
import { onAnnounce } from "@/parts/announce";

export function LiveRegion() {
  const [said, setSaid] = useState({ text: "", turn: 0 });
  useEffect(() => onAnnounce((text) => setSaid((before) => ({ text, turn: before.turn + 1 }))), []);
  // The same words said twice are a change only in another element.
  return (
    <div role="status" aria-live="polite" className="visually-hidden">
      <span key={said.turn}>{said.text}</span>
    </div>
  );
}
