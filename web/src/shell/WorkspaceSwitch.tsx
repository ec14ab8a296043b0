/** Shows the workspace, and changes it where the person has several. */
import { Button, Menu, Text } from "@mantine/core";
import { IconCheck, IconSelector } from "@tabler/icons-react";
import { useMe } from "@/api/me";
import { openWorkspace } from "@/api/workspace";
import { t } from "./texts";
import classes from "./WorkspaceSwitch.module.css";

export function WorkspaceSwitch() {
  const me = useMe();
  const name = me?.workspace?.name ?? t("product");
  const workspaces = me?.workspaces ?? [];
  if (workspaces.length < 2) {
    return (
      <Text component="span" fw={600} truncate className={classes.name}>
        {name}
      </Text>
    );
  }

  return (
    <Menu position="bottom-start" width={240}>
      <Menu.Target>
        <Button
          variant="subtle"
          color="gray"
          className={classes.name}
          rightSection={<IconSelector size={16} aria-hidden />}
          aria-label={t("switchWorkspace", { name })}
        >
          {name}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {workspaces.map((workspace) => (
          <Menu.Item
            key={workspace.id}
            onClick={() => openWorkspace(workspace.id)}
            aria-current={workspace.id === me?.workspace?.id || undefined}
            rightSection={workspace.id === me?.workspace?.id && <IconCheck size={16} aria-hidden />}
          >
            {workspace.name}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
