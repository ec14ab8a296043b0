/** Rows that are dragged to another place by a handle. Buttons do the same for keyboards and screen readers. */
import { type DragEvent, useState } from "react";

/** `move` gets the place of the row that was dragged, and by how many places it goes down. */
export function useDragOrder(move: (from: number, by: number) => void) {
  const [from, setFrom] = useState<number>();
  const [over, setOver] = useState<number>();

  function end() {
    setFrom(undefined);
    setOver(undefined);
  }

  return {
    handle: (index: number) => ({
      draggable: true,
      onDragStart: (event: DragEvent<HTMLElement>) => {
        event.dataTransfer.effectAllowed = "move";
        // Without data, Firefox drags nothing.
        event.dataTransfer.setData("text/plain", String(index));
        const row = event.currentTarget.closest("tr");
        if (row) event.dataTransfer.setDragImage(row, 0, 0);
        setFrom(index);
      },
      onDragEnd: end,
    }),
    row: (index: number) => ({
      "data-dropping":
        over === index && from !== index ? (from !== undefined && from < index ? "below" : "above") : undefined,
      onDragOver: (event: DragEvent) => {
        // What is dragged from elsewhere, such as a file, has no place here.
        if (from === undefined) return;
        event.preventDefault();
        event.dataTransfer.dropEffect = "move";
        if (over !== index) setOver(index);
      },
      onDrop: (event: DragEvent) => {
        if (from === undefined) return;
        event.preventDefault();
        if (from !== index) move(from, index - from);
        end();
      },
    }),
  };
}
