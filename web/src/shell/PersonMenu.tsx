/** The menu of the person who is signed in: their settings, the colour scheme, signing out. */
import { ActionIcon, Menu, useMantineColorScheme } from "@mantine/core";
import { IconCheck, IconDeviceDesktop, IconLogout, IconMoon, IconSun, IconUserCircle } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { signOut, useMe } from "@/api/me";
import { t } from "./texts";

const SCHEMES = [
  { value: "light", name: "light", icon: IconSun },
  { value: "dark", name: "dark", icon: IconMoon },
  { value: "auto", name: "system", icon: IconDeviceDesktop },
] as const;

export function PersonMenu() {
  const me = useMe();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const name = me?.user?.name || me?.user?.email || t("apiKeySession");

  async function leave() {
    await signOut().catch(() => undefined);
    // A new document: nothing of the session stays in memory.
    window.location.assign("/sign-in");
  }

  return (
    <Menu position="bottom-end" width={220}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("account", { name })}>
          <IconUserCircle size={22} stroke={1.6} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{name}</Menu.Label>
        <Menu.Item component={Link} to="/settings" leftSection={<IconUserCircle size={16} aria-hidden />}>
          {t("yourAccount")}
        </Menu.Item>
        <Menu.Divider />
        <Menu.Label>{t("theme")}</Menu.Label>
        {SCHEMES.map(({ value, name: scheme, icon: Icon }) => (
          <Menu.Item
            key={value}
            onClick={() => setColorScheme(value)}
            aria-current={colorScheme === value || undefined}
            leftSection={<Icon size={16} aria-hidden />}
            rightSection={colorScheme === value && <IconCheck size={16} aria-hidden />}
          >
            {t(scheme)}
          </Menu.Item>
        ))}
        {me?.session && (
          <>
            <Menu.Divider />
            <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={() => void leave()}>
              {t("signOut")}
            </Menu.Item>
          </>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
