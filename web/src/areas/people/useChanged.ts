/** What the forms of a person's page have in common. */
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import type { Person } from "@/api/people";
import { useEdit } from "@/parts/Edited";
import { toast } from "@/parts/toasts";
import { t } from "./texts";

/** A part of the page whose form is open or not: a newer version of the person leaves it open. */
export interface Changing {
  person: Person;
  changing: boolean;
  setChanging: (changing: boolean) => void;
}

/** Returns what follows a change that was saved: the form is closed, and the page shows the person as they are now. */
export function useChanged(person: Person, close: () => void) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const { saved } = useEdit();
  return (changed: { id: string; updated_at: string }) => {
    toast(t("saved"));
    saved(changed.updated_at);
    close();
    void queries.invalidateQueries({ queryKey: ["people"] });
    // An identifier can lead to somebody else, whom this person became one with.
    if (changed.id !== person.id) {
      void navigate({ to: "/people/$id", params: { id: changed.id }, ignoreBlocker: true });
    }
  };
}
