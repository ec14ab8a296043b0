/** One template: its content beside the preview, and its earlier versions. */
import { Alert, Button, Group, NativeSelect } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { changeTemplate, deleteTemplate, type Template, templateQuery } from "@/api/templates";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { DeleteButton } from "@/parts/DeleteButton";
import { Edited, useEdit } from "@/parts/Edited";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { readContent } from "./content";
import { TemplateForm } from "./TemplateForm";
import { t } from "./texts";

export function TemplatePage() {
  const { id } = useParams({ from: "/app/templates/$id" });
  const filters = useFilters("version");
  const version = Number(filters.values.version) || undefined;
  const template = useQuery(templateQuery(id, version));
  const may = useMay()("templates.write");
  const one = template.data;
  return (
    <Page
      title={one?.name ?? id}
      area={t("title")}
      actions={
        <>
          <CopyAsCurl path={`/v1/templates/${id}`} query={{ version }} />
          {may && one && <Delete template={one} />}
        </>
      }
    >
      {one && one.current_version > 1 && (
        <Group align="flex-end">
          <NativeSelect
            w={240}
            label={t("version")}
            value={String(one.version)}
            onChange={(event) =>
              filters.set(
                "version",
                event.currentTarget.value === String(one.current_version) ? "" : event.currentTarget.value,
              )
            }
            data={Array.from({ length: Math.min(one.current_version, 200) }, (_, index) => {
              const value = one.current_version - index;
              return { value: String(value), label: t("versionOf", { version: index === 0 ? "now" : value }) };
            })}
          />
          <Button
            variant="default"
            renderRoot={(props) => (
              <Link
                to="/templates/$id/versions"
                params={{ id }}
                search={(version ? { from: String(version), to: String(one.current_version) } : {}) as never}
                {...props}
              />
            )}
          >
            {t("compare")}
          </Button>
        </Group>
      )}
      {one && one.version !== one.current_version && (
        <Alert color="blue">{t("oldVersion", { version: one.version })}</Alert>
      )}
      <States query={template}>
        {(found) => (
          <Edited key={filters.values.version} data={found} theirs={({ name, variants }) => ({ name, variants })}>
            {(shown) => (
              <Form
                key={`${shown.version} ${shown.current_version}`}
                template={shown}
                readOnly={!may}
                showNewest={() => filters.set("version", "")}
              />
            )}
          </Edited>
        )}
      </States>
    </Page>
  );
}

interface FormProps {
  template: Template;
  readOnly: boolean;
  showNewest: () => void;
}

function Form({ template: { id, name, channel, variants }, readOnly, showNewest }: FormProps) {
  const queries = useQueryClient();
  const { version, saved } = useEdit();
  return (
    <TemplateForm
      channel={channel}
      start={{ name, variants: variants.map((one) => readContent(channel, one.name, one.weight, one.content)) }}
      action={t("save")}
      readOnly={readOnly}
      send={(newName, newVariants) => changeTemplate(id, newName, newVariants, version)}
      done={(changed) => {
        toast(t("saved", { version: changed.version }));
        saved(changed.updated_at);
        showNewest();
        void queries.invalidateQueries({ queryKey: ["templates"] });
      }}
    />
  );
}

function Delete({ template: { id, name } }: { template: Template }) {
  return (
    <DeleteButton
      question={{ title: t("deleteQuestion", { name }), body: t("deleteBody"), action: t("delete") }}
      remove={() => deleteTemplate(id)}
      done={t("deleted", { name })}
      to="/templates"
      queryKey={["templates", id]}
    />
  );
}
