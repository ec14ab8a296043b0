/** Who has access, and invitations to more. */
import { Button, Group, NativeSelect, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useMay, useMe } from "@/api/me";
import { changeRole, type Person, removeUser, rolesQuery, usersQuery } from "@/api/users";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { type Column, Listing } from "@/parts/Listing";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { Invitations } from "./Invitations";
import { InviteForm } from "./InviteForm";
import { RoleTable } from "./RoleTable";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./texts";

const nameOf = (person: Person) => person.name || person.email;

export function UsersPage() {
  const { after } = useFilters();
  const query = useQuery(usersQuery(after));
  const me = useMe()?.user;
  const may = useMay()("users.write");
  const [inviting, setInviting] = useState(false);
  const columns: Column<Person>[] = [
    {
      id: "name",
      title: t("name"),
      cell: (person) => (
        <>
          <Text size="sm" fw={500}>
            {nameOf(person)} {person.id === me?.id && `(${t("you")})`}
          </Text>
          {person.name && (
            <Text size="xs" c="dimmed">
              {person.email}
            </Text>
          )}
        </>
      ),
    },
    {
      id: "role",
      title: t("role"),
      cell: (person) => (may && person.id !== me?.id ? <RoleChoice person={person} /> : person.role),
    },
    {
      id: "totp",
      title: t("secondFactor"),
      cell: ({ totp, passkeys }) => t(totp || passkeys > 0 ? "on" : "off"),
      wide: true,
    },
    { id: "used", title: t("lastUsed"), cell: (person) => <Time at={person.last_used_at} />, wide: true },
    ...(may
      ? [{ id: "remove", title: "", cell: (person: Person) => person.id !== me?.id && <Remove person={person} /> }]
      : []),
  ];
  return (
    <SettingsFrame>
      <Section
        title={t("people")}
        lead={t("peopleLead")}
        actions={may && !inviting && <Button onClick={() => setInviting(true)}>{t("invite")}</Button>}
      >
        {inviting && <InviteForm close={() => setInviting(false)} />}
        <Listing
          label={t("people")}
          query={query}
          columns={columns}
          rowKey={({ id }) => id}
          empty={{ title: t("noPeople") }}
        />
      </Section>
      <Invitations />
      <RoleTable />
    </SettingsFrame>
  );
}

function RoleChoice({ person }: { person: Person }) {
  const roles = useQuery(rolesQuery).data?.data ?? [];
  const queries = useQueryClient();
  const change = useMutation({
    mutationFn: (role: string) => changeRole(person.id, role),
    onSuccess: ({ role }) => {
      toast(t("roleChanged", { name: nameOf(person), role }));
      void queries.invalidateQueries({ queryKey: ["users"] });
    },
    onError: toastError,
  });
  return (
    <NativeSelect
      size="xs"
      aria-label={t("roleOf", { name: nameOf(person) })}
      value={change.isPending ? change.variables : person.role}
      onChange={(event) => change.mutate(event.currentTarget.value)}
      disabled={change.isPending}
      data={roles.length > 0 ? roles.map(({ role }) => role) : [person.role]}
    />
  );
}

function Remove({ person }: { person: Person }) {
  const queries = useQueryClient();
  const name = nameOf(person);
  const remove = useMutation({
    mutationFn: () => removeUser(person.id),
    onSuccess: () => {
      toast(t("removed", { name }));
      void queries.invalidateQueries({ queryKey: ["users"] });
    },
    onError: toastError,
  });

  async function ask() {
    const question = { title: t("removeQuestion", { name }), body: t("removeBody"), action: t("remove"), danger: true };
    if (await confirm(question)) remove.mutate();
  }

  return (
    <Group justify="flex-end">
      <Button
        size="xs"
        variant="default"
        aria-label={t("removeOf", { name })}
        onClick={() => void ask()}
        loading={remove.isPending}
      >
        {t("remove")}
      </Button>
    </Group>
  );
}
