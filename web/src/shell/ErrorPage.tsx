/** Pages that say what went wrong: a failing page, an address without a page, a page that is not for this person. */
import { Alert, Anchor, Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ErrorComponentProps, Link, useRouter } from "@tanstack/react-router";
import { useMe } from "@/api/me";
import { Problem } from "@/api/problem";
import { rolesQuery } from "@/api/users";
import { Page } from "@/parts/Page";
import { t } from "./texts";

/** A chunk that cannot be loaded belongs to a version that the server no longer has. */
const CHUNK = /dynamically imported module|module script failed/i;

export function ErrorPage({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  const message = error instanceof Error ? error.message : String(error);
  const outdated = CHUNK.test(message);
  return (
    <main id="content">
      <Page title={t(outdated ? "updated" : "failed")}>
        <p>{t(outdated ? "updatedHint" : "failedHint")}</p>
        {!outdated && (
          <Alert color="red" role="alert">
            {error instanceof Problem ? `${error.detail} (${error.code})` : message}
          </Alert>
        )}
        <div>
          <Button
            onClick={() => {
              if (outdated) window.location.reload();
              reset();
              void router.invalidate();
            }}
          >
            {t("reload")}
          </Button>
        </div>
      </Page>
    </main>
  );
}

export function NotFoundPage() {
  return (
    <Page title={t("notFound")}>
      <p>{t("notFoundHint")}</p>
      <p>
        <Anchor component={Link} to="/">
          {t("goHome")}
        </Anchor>
      </p>
    </Page>
  );
}

export function NotAllowedPage({ permission }: { permission: string }) {
  const role = useMe()?.role;
  const roles = useQuery(rolesQuery).data?.data ?? [];
  const having = roles.filter(({ permissions }) => permissions.includes(permission)).map((one) => one.role);
  return (
    <Page title={t("notAllowed")}>
      <p>{t("notAllowedHint", { permission })}</p>
      {having.length > 0 && <p>{t("notAllowedRoles", { roles: having.join(", "), role: role ?? "none" })}</p>}
    </Page>
  );
}
