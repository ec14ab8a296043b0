/** The invitations that nobody has accepted yet; nothing if there are none. */
import { Button, Table } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMay } from "@/api/me";
import { type Invitation, invitationsQuery, withdrawInvitation } from "@/api/users";
import { Section } from "@/parts/Details";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { t } from "./texts";

export function Invitations() {
  const rows = useQuery(invitationsQuery).data?.data ?? [];
  const may = useMay()("users.write");
  const queries = useQueryClient();
  const withdraw = useMutation({
    mutationFn: ({ id }: Invitation) => withdrawInvitation(id),
    onSuccess: (_, { email }) => {
      toast(t("withdrawn", { email }));
      void queries.invalidateQueries(invitationsQuery);
    },
    onError: toastError,
  });
  if (rows.length === 0) return null;
  return (
    <Section title={t("invitations")}>
      <Table.ScrollContainer minWidth={0} type="native" role="group" aria-label={t("invitations")} tabIndex={0}>
        <Table aria-label={t("invitations")}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t("email")}</Table.Th>
              <Table.Th scope="col">{t("role")}</Table.Th>
              <Table.Th scope="col">{t("expires")}</Table.Th>
              {may && <Table.Td />}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map((one) => (
              <Table.Tr key={one.id}>
                <Table.Td style={{ overflowWrap: "anywhere" }}>{one.email}</Table.Td>
                <Table.Td>{one.role}</Table.Td>
                <Table.Td>
                  <Time at={one.expires_at} />
                </Table.Td>
                {may && (
                  <Table.Td ta="end">
                    <Button
                      size="xs"
                      variant="default"
                      aria-label={t("withdrawOf", { email: one.email })}
                      loading={withdraw.isPending && withdraw.variables.id === one.id}
                      onClick={() => withdraw.mutate(one)}
                    >
                      {t("withdraw")}
                    </Button>
                  </Table.Td>
                )}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Section>
  );
}
