/** What each role may do, from the table of permissions of the server. */
import { Table, Text } from "@mantine/core";
import { IconCheck, IconMinus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { rolesQuery } from "@/api/users";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { t } from "./texts";

export function RoleTable() {
  const query = useQuery(rolesQuery);
  return (
    <Section title={t("roles")}>
      <States query={query}>
        {({ data, permissions }) => (
          <Table.ScrollContainer minWidth={560} type="native" role="group" aria-label={t("roles")} tabIndex={0}>
            <Table aria-label={t("roles")}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col">{t("permission")}</Table.Th>
                  {data.map(({ role, description }) => (
                    <Table.Th key={role} scope="col" ta="center" title={description}>
                      {role}
                    </Table.Th>
                  ))}
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {permissions.map(({ name, description }) => (
                  <Table.Tr key={name}>
                    <Table.Th scope="row" fw={400}>
                      {description}
                      <Text size="xs" c="dimmed">
                        {name}
                      </Text>
                    </Table.Th>
                    {data.map(({ role, permissions: own }) => (
                      <Table.Td key={role} ta="center">
                        {own.includes(name) ? (
                          <IconCheck size={16} role="img" aria-label={t("may", { role })} />
                        ) : (
                          <IconMinus size={16} role="img" aria-label={t("mayNot", { role })} opacity={0.4} />
                        )}
                      </Table.Td>
                    ))}
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Table.ScrollContainer>
        )}
      </States>
    </Section>
  );
}
