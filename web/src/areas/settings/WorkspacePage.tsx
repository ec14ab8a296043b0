/** The workspace: its name and rules, a new one, and its end. */
import { Alert, Button, Stack, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMay, useMe } from "@/api/me";
import { openWorkspace } from "@/api/workspace";
import { changeWorkspace, createWorkspace, type Workspace, workspaceQuery } from "@/api/workspaces";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { SecretOnce } from "@/parts/SecretOnce";
import { States } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import { ZoneInput } from "@/parts/ZoneInput";
import { DeleteWorkspace } from "./DeleteWorkspace";
import { MfaChoice } from "./MfaChoice";
import { Retention } from "./Retention";
import { ServerSection } from "./ServerSection";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./texts";

/** The roles with which a person may make workspaces, if they have one of them anywhere. */
const MAKERS = ["owner", "admin"];

export function WorkspacePage() {
  const query = useQuery(workspaceQuery);
  const me = useMe();
  const may = useMay();
  return (
    <SettingsFrame>
      <States query={query}>
        {(workspace) => (
          <>
            <Rules key={workspace.id} workspace={workspace} />
            <Retention key={`retention of ${workspace.id}`} retention={workspace.retention} />
          </>
        )}
      </States>
      <ServerSection />
      {me?.user && !me.session?.single_sign_on && me.workspaces.some(({ role }) => MAKERS.includes(role ?? "")) && (
        <NewWorkspace />
      )}
      {may("workspace.delete") && !me?.session?.single_sign_on && query.data && (
        <DeleteWorkspace name={query.data.name} />
      )}
    </SettingsFrame>
  );
}

function Rules({ workspace }: { workspace: Workspace }) {
  const mayChange = useMay();
  const may = mayChange("settings.write");
  const queries = useQueryClient();
  const form = useForm({
    initial: { name: workspace.name, mfa: workspace.mfa, time_zone: workspace.time_zone },
    // Only what is new: not everybody who may change one may change the others.
    send: ({ name, mfa, time_zone }) =>
      changeWorkspace({
        ...(name !== workspace.name && { name }),
        ...(mfa !== workspace.mfa && { mfa }),
        ...(time_zone !== workspace.time_zone && { time_zone }),
      }),
    done: () => {
      toast(t("saved"));
      void queries.invalidateQueries({ queryKey: ["workspace"] });
      void queries.invalidateQueries({ queryKey: ["me"] });
      void queries.invalidateQueries({ queryKey: ["sending-rules"] });
    },
  });
  useGuard(form.changed);
  useCommandKey("s", () => form.submit(), may);
  return (
    <Section title={t("workspace")}>
      <form {...form.form}>
        <Stack maw={480}>
          <TextInput {...form.field("name")} label={t("workspaceName")} readOnly={!may} />
          <ZoneInput
            {...form.field("time_zone")}
            label={t("timeZone")}
            description={t("timeZoneHint")}
            readOnly={!may}
          />
          <MfaChoice field={form.field("mfa")} disabled={!may || !mayChange("users.write")} />
          <FormProblem problem={form.problem} />
          {may && (
            <div>
              <Button type="submit" loading={form.pending} disabled={!form.changed}>
                {t("save")}
              </Button>
            </div>
          )}
        </Stack>
      </form>
    </Section>
  );
}

function NewWorkspace() {
  const queries = useQueryClient();
  const form = useForm({
    initial: { name: "" },
    send: createWorkspace,
    done: () => void queries.invalidateQueries({ queryKey: ["me"] }),
  });
  const made = form.result;
  return (
    <Section title={t("newWorkspace")} lead={t("newWorkspaceLead")}>
      {made ? (
        <Stack>
          <Alert color="green">{t("workspaceCreated", { name: made.name })}</Alert>
          <SecretOnce
            label={t("workspaceKeys", { name: made.name })}
            text={`WAYPOST_API_KEY=${made.api_key}\nWAYPOST_WRITE_KEY=${made.write_key}`}
          />
          <div>
            <Button onClick={() => openWorkspace(made.id)}>{t("switchTo", { name: made.name })}</Button>
          </div>
        </Stack>
      ) : (
        <form {...form.form}>
          <Stack maw={480}>
            <TextInput {...form.field("name")} label={t("name")} required withAsterisk={false} />
            <FormProblem problem={form.problem} />
            <div>
              <Button type="submit" variant="default" loading={form.pending}>
                {t("createWorkspace")}
              </Button>
            </div>
          </Stack>
        </form>
      )}
    </Section>
  );
}
