/** Signs in: by password, passkey or single sign-on. */
import { Alert, Anchor, Button } from "@mantine/core";
import { IconAlertTriangle, IconBuilding } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { setupQuery } from "@/api/me";
import { SignInForm } from "@/parts/SignInForm";
import { useArrive } from "./arrive";
import { EntryPage } from "./EntryPage";
import { SingleSignOnForm } from "./SingleSignOnForm";
import { signOnProblem } from "./signOnProblem";
import { t } from "./texts";

export function SignInPage() {
  const { to, problem } = useSearch({ from: "/sign-in" });
  const arrive = useArrive(to);
  const [bySignOn, setBySignOn] = useState(false);
  const setup = useQuery(setupQuery).data;
  return (
    <EntryPage title={t(bySignOn ? "signOnTitle" : "signInTitle")}>
      {problem && (
        <Alert color="red" role="alert" icon={<IconAlertTriangle aria-hidden />} mb="md">
          {signOnProblem(problem)}
        </Alert>
      )}
      {bySignOn ? (
        <SingleSignOnForm to={to} back={() => setBySignOn(false)} />
      ) : (
        <SignInForm done={arrive}>
          {setup?.single_sign_on && (
            <Button
              variant="default"
              leftSection={<IconBuilding size={18} aria-hidden />}
              onClick={() => setBySignOn(true)}
            >
              {t("singleSignOn")}
            </Button>
          )}
          <Anchor component={Link} to="/reset" size="sm" ta="center">
            {t("forgot")}
          </Anchor>
        </SignInForm>
      )}
    </EntryPage>
  );
}
