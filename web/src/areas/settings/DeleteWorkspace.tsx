/** The end of a workspace: a button that says what is lost in numbers, and asks for the name. */
import { Button, List, Stack, Text } from "@mantine/core";
import "@mantine/core/styles/List.css";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useMe } from "@/api/me";
import { openWorkspace } from "@/api/workspace";
import { contentsQuery, deleteWorkspace, type WorkspaceContents } from "@/api/workspaces";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { toastError } from "@/parts/toasts";
import { t } from "./texts";

const LOST = ["people", "events", "messages", "connections", "webhooks", "keys", "users"] as const;
const ENDED = ["running_campaigns", "queued_messages", "pending_deliveries"] as const;

export function DeleteWorkspace({ name }: { name: string }) {
  const me = useMe();
  const queries = useQueryClient();
  const others = (me?.workspaces ?? []).filter(({ id }) => id !== me?.workspace?.id);
  const removal = useMutation({
    mutationFn: async () => {
      const contents = await queries.fetchQuery(contentsQuery);
      const title = t("deleteWorkspaceQuestion", { name });
      const body = <Consequences contents={contents} />;
      if (!(await confirm({ title, body, action: t("delete"), danger: true, typed: name }))) return false;
      await deleteWorkspace({ name });
      return true;
    },
    onSuccess: (deleted) => {
      if (deleted && others[0]) openWorkspace(others[0].id);
    },
    onError: toastError,
  });
  return (
    <Section title={t("danger")} lead={others.length > 0 ? t("dangerLead") : t("dangerLast")}>
      <div>
        <Button color="red" onClick={() => removal.mutate()} loading={removal.isPending} disabled={others.length === 0}>
          {t("deleteWorkspace")}
        </Button>
      </div>
    </Section>
  );
}

function Consequences({ contents }: { contents: WorkspaceContents }) {
  const many = (name: (typeof LOST)[number] | (typeof ENDED)[number]) =>
    t(`lost_${name}`, { n: contents[name], more: contents[name] >= contents.counted_to ? "yes" : "no" });
  const lost = LOST.filter((name) => contents[name] > 0);
  const ended = ENDED.filter((name) => contents[name] > 0);
  return (
    <Stack gap="xs">
      <Text>{t("lostLead")}</Text>
      <List>
        {lost.map((name) => (
          <List.Item key={name}>{many(name)}</List.Item>
        ))}
      </List>
      {ended.length > 0 && (
        <>
          <Text>{t("endedLead")}</Text>
          <List>
            {ended.map((name) => (
              <List.Item key={name}>{many(name)}</List.Item>
            ))}
          </List>
        </>
      )}
      <Text>{t("lostForever")}</Text>
    </Stack>
  );
}
