/** Signs in. */
import { Anchor } from "@mantine/core";
import { Link, useSearch } from "@tanstack/react-router";
import { SignInForm } from "@/parts/SignInForm";
import { useArrive } from "./arrive";
import { EntryPage } from "./EntryPage";
import { t } from "./texts";

export function SignInPage() {
  const { to } = useSearch({ from: "/sign-in" });
  const arrive = useArrive(to);
  return (
    <EntryPage title={t("signInTitle")}>
      <SignInForm done={arrive}>
        <Anchor component={Link} to="/reset" size="sm" ta="center">
          {t("forgot")}
        </Anchor>
      </SignInForm>
    </EntryPage>
  );
}
