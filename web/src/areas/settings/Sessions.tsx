/** Where the person is signed in, and a button that ends each session. */
import { Badge, Button, Table } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { endSession, sessionsQuery } from "@/api/account";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { toastError } from "@/parts/toasts";
import { nameBrowser } from "./browserName";
import { t } from "./texts";

export function Sessions() {
  const query = useQuery(sessionsQuery);
  const queries = useQueryClient();
  const end = useMutation({
    mutationFn: endSession,
    onSuccess: () => queries.invalidateQueries(sessionsQuery),
    onError: toastError,
  });
  return (
    <Section title={t("sessions")} lead={t("sessionsLead")}>
      <States query={query}>
        {({ data }) => (
          <Table.ScrollContainer minWidth={0} type="native" role="group" aria-label={t("sessions")} tabIndex={0}>
            <Table aria-label={t("sessions")}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col">{t("browser")}</Table.Th>
                  <Table.Th scope="col">{t("address")}</Table.Th>
                  <Table.Th scope="col">{t("lastUsed")}</Table.Th>
                  <Table.Th scope="col">{t("ends")}</Table.Th>
                  <Table.Td />
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {data.map((session) => {
                  const browser = nameBrowser(session.user_agent) ?? t("unknownBrowser");
                  return (
                    <Table.Tr key={session.id}>
                      <Table.Td>
                        <span title={session.user_agent}>{browser}</span>
                      </Table.Td>
                      <Table.Td>{session.ip}</Table.Td>
                      <Table.Td>
                        <Time at={session.last_used_at} />
                      </Table.Td>
                      <Table.Td>
                        <Time at={session.expires_at} />
                      </Table.Td>
                      <Table.Td ta="end">
                        {session.current ? (
                          <Badge tt="none" variant="light">
                            {t("thisSession")}
                          </Badge>
                        ) : (
                          <Button
                            size="xs"
                            variant="default"
                            aria-label={t("endSessionOf", { browser })}
                            loading={end.isPending && end.variables === session.id}
                            onClick={() => end.mutate(session.id)}
                          >
                            {t("endSession")}
                          </Button>
                        )}
                      </Table.Td>
                    </Table.Tr>
                  );
                })}
              </Table.Tbody>
            </Table>
          </Table.ScrollContainer>
        )}
      </States>
    </Section>
  );
}
