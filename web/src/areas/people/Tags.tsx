/** The tags of a person: words that can be added and removed. */
import { Badge, Button, CloseButton, Group, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useMay } from "@/api/me";
import { type Person, tagPerson, untagPerson } from "@/api/people";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { toastError } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

export function Tags({ person }: { person: Person }) {
  const queries = useQueryClient();
  const may = useMay()("people.write");
  const refresh = () => queries.invalidateQueries({ queryKey: ["people"] });
  const remove = useMutation({
    mutationFn: (tag: string) => untagPerson(person.id, tag),
    onSuccess: refresh,
    onError: toastError,
  });
  const form = useForm({
    initial: { tag: "" },
    send: async ({ tag }) => tagPerson(person.id, tag.trim()),
    done: () => {
      form.reset();
      void refresh();
    },
  });
  return (
    <Section title={t("tags")}>
      <Group gap="xs" mb="sm">
        {person.tags.length === 0 && (
          <Text size="sm" c="dimmed">
            {t("noTags")}
          </Text>
        )}
        {person.tags.map((tag) => (
          <Badge
            key={tag}
            variant="light"
            color="gray"
            tt="none"
            size="lg"
            rightSection={
              may && <CloseButton size="xs" aria-label={t("removeTag", { tag })} onClick={() => remove.mutate(tag)} />
            }
          >
            {tag}
          </Badge>
        ))}
      </Group>
      {may && (
        <form {...form.form} aria-label={t("addTag")}>
          <Group align="flex-end" gap="xs">
            <TextInput {...form.field("tag")} label={t("newTag")} size="xs" maxLength={100} />
            <Button type="submit" size="xs" variant="default" loading={form.pending} disabled={!form.values.tag.trim()}>
              {t("addTag")}
            </Button>
          </Group>
          <FormProblem problem={form.problem} />
        </form>
      )}
    </Section>
  );
}
