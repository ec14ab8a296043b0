/** The frame of the pages: header, navigation, content. */
import { ActionIcon, Alert, Anchor } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconMenu2, IconX } from "@tabler/icons-react";
import { Link, Outlet, useMatches, useRouterState } from "@tanstack/react-router";
import { Suspense, useEffect } from "react";
import { useMay, useMe } from "@/api/me";
import { Dialogs } from "@/parts/dialogs";
import { Toasts } from "@/parts/toasts";
import { NotAllowedPage } from "./ErrorPage";
import classes from "./Frame.module.css";
import { Navigation } from "./Navigation";
import { Palette } from "./Palette";
import { PersonMenu } from "./PersonMenu";
import { PAGES, SETTINGS } from "./pages";
import { Recovery } from "./Recovery";
import { Shortcuts } from "./Shortcuts";
import { t } from "./texts";
import { WorkspaceSwitch } from "./WorkspaceSwitch";

export function Frame() {
  const path = useRouterState({ select: (state) => state.location.pathname });
  const [open, { toggle, close }] = useDisclosure(false);
  const may = useMay();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a page that was chosen closes the navigation.
  useEffect(close, [path]);
  const me = useMe();
  const hasFactor = me?.session?.mfa || me?.user?.totp !== false || me.user.passkeys > 0;
  const needsFactor = me?.workspace?.mfa === "required" && !hasFactor;
  const bySignOn = me?.session?.single_sign_on;
  // What a page needs to be of use, such as one that makes something; else what seeing the pages of its noun needs.
  const own = useMatches({ select: (matches) => matches.at(-1)?.staticData.permission });
  const page = [...SETTINGS, ...PAGES].find(({ to }) => to !== "/" && (path === to || path.startsWith(`${to}/`)));
  const needed = own ?? page?.permission;
  const missing = needed && !may(needed) ? needed : undefined;
  return (
    <>
      <a href="#content" className={classes.skip}>
        {t("skip")}
      </a>
      <header className={classes.header}>
        <ActionIcon
          className={classes.burger}
          variant="subtle"
          color="gray"
          size="lg"
          aria-label={t(open ? "closeNavigation" : "openNavigation")}
          aria-expanded={open}
          aria-controls="navigation"
          onClick={toggle}
        >
          {open ? <IconX size={20} aria-hidden /> : <IconMenu2 size={20} aria-hidden />}
        </ActionIcon>
        <WorkspaceSwitch />
        <div className={classes.space} />
        <Palette />
        <PersonMenu />
      </header>
      <nav
        id="navigation"
        aria-label={t("navigation")}
        className={classes.navigation}
        data-open={open || undefined}
        onKeyDown={(event) => event.key === "Escape" && close()}
      >
        <Navigation />
      </nav>
      <main id="content" className={classes.main} tabIndex={-1}>
        {needsFactor && (
          <Alert color="orange" mb="md">
            {t(bySignOn ? "mfaNotCounted" : "mfaNeeded")}{" "}
            {!bySignOn && (
              <Anchor component={Link} to="/settings">
                {t("mfaSetUp")}
              </Anchor>
            )}
          </Alert>
        )}
        <Suspense>{missing ? <NotAllowedPage permission={missing} /> : <Outlet />}</Suspense>
      </main>
      <Toasts />
      <Dialogs />
      <Recovery />
      <Shortcuts />
    </>
  );
}
