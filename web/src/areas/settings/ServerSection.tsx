/** The server of the workspace: its addresses, and whether it can send its own mail. */
import { Alert, Button, Code, Stack, Text } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useMay, useMe } from "@/api/me";
import { type Server, sendTestMail, serverQuery } from "@/api/server";
import { Details, Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { States } from "@/parts/States";
import { rich, t } from "./texts";

export function ServerSection() {
  const query = useQuery(serverQuery);
  return (
    <Section title={t("server")} lead={t("serverLead")}>
      <States query={query}>{(server) => <Shown {...server} />}</States>
    </Section>
  );
}

/** The name of a setting, as it stands in the file of settings. */
const setting = (name: string) => rich("bySetting", { name: <Code>{name}</Code> });

function Shown({ public_url, data_centers, mail }: Server) {
  const me = useMe();
  const mayTest = useMay()("users.write") && me?.user;
  const test = useMutation({ mutationFn: sendTestMail });
  return (
    <Stack>
      <Details
        rows={[
          [t("publicUrl"), <Value key="url" text={public_url} setting="public_url" />],
          ...Object.entries(data_centers)
            .filter(([name, url]) => name !== "global" || url !== public_url)
            .map(([name, url]): [string, ReactNode] => [
              t("dataCenter", { name }),
              <Value key={name} text={url} setting="data_centers" />,
            ]),
          [
            t("ownMail"),
            mail.configured ? (
              <Value key="mail" text={t("mailFrom", { sender: mail.sender })} setting="mail_from" />
            ) : (
              <Value key="mail" text={t("noMail")} setting="smtp_url" />
            ),
          ],
        ]}
      />
      {mail.configured && mayTest && (
        <div>
          <Button variant="default" loading={test.isPending} onClick={() => test.mutate()}>
            {t("testMail")}
          </Button>
        </div>
      )}
      <FormProblem problem={test.error} />
      {test.data && !test.isPending && (
        <Alert color={test.data.accepted ? "green" : "red"} role={test.data.accepted ? "status" : "alert"}>
          {test.data.accepted
            ? t("testAccepted", { to: test.data.to })
            : t("testRefused", { to: test.data.to, error: test.data.error ?? "" })}
        </Alert>
      )}
    </Stack>
  );
}

function Value({ text, setting: name }: { text: string; setting: string }) {
  return (
    <>
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
        {text}
      </Text>
      <Text size="xs" c="dimmed">
        {setting(name)}
      </Text>
    </>
  );
}
