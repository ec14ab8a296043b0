/** Adds a person by an identifier, or opens the one who has it. */
import { Button, Group, Stack, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { addPerson } from "@/api/people";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

export function AddPerson({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const form = useForm({
    initial: { email: "", phone: "", user_id: "" },
    send: (values) => addPerson(Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""))),
    done: ({ id }) => {
      void queries.invalidateQueries({ queryKey: ["people", "list"] });
      void navigate({ to: "/people/$id", params: { id } });
    },
  });
  return (
    <Section title={t("addPerson")}>
      <form {...form.form} aria-label={t("addPerson")}>
        <Stack maw={420}>
          <TextInput {...form.field("email")} label={t("email")} type="email" data-autofocus />
          <TextInput {...form.field("phone")} label={t("phone")} type="tel" />
          <TextInput {...form.field("user_id")} label={t("userId")} />
          <FormProblem problem={form.problem} />
          <Group>
            <Button type="submit" loading={form.pending}>
              {t("add")}
            </Button>
            <Button variant="default" onClick={close}>
              {t("cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
