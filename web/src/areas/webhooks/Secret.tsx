/** The signing secret, shown when it is asked for, and its rotation. */
import { Alert, Button, Group, NativeSelect, Stack, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { readPublicKey, readSecret, rotateSecret, type Webhook } from "@/api/webhooks";
import { CodeBlock } from "@/parts/CodeBlock";
import { Section } from "@/parts/Details";
import { Failed } from "@/parts/States";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { rich, t } from "./texts";

const HOURS = [0, 1, 24, 168] as const;

export function Secret({ webhook: { id, signature } }: { webhook: Webhook }) {
  const [hours, setHours] = useState("24");
  const secret = useMutation({ mutationFn: () => readSecret(id) });
  const publicKey = useMutation({ mutationFn: () => readPublicKey(id) });
  const rotate = useMutation({
    mutationFn: () => rotateSecret(id, Number(hours) * 3600),
    onSuccess: () => {
      toast(t("rotated"));
      secret.mutate();
      if (publicKey.data) publicKey.mutate();
    },
    onError: toastError,
  });
  if (signature === "none") return <Section title={t("secret")} lead={t("noSecret")} />;
  return (
    <Section title={t("secret")} lead={t("secretLead")}>
      <Group align="flex-end">
        {secret.data ? (
          <Button variant="default" onClick={() => secret.reset()}>
            {t("hide")}
          </Button>
        ) : (
          <Button variant="default" onClick={() => secret.mutate()} loading={secret.isPending}>
            {t("show")}
          </Button>
        )}
        {signature === "v1a" && (
          <Button variant="default" onClick={() => publicKey.mutate()} loading={publicKey.isPending}>
            {t("showPublicKey")}
          </Button>
        )}
      </Group>
      {secret.isError && <Failed error={secret.error} retry={() => secret.mutate()} />}
      {publicKey.isError && <Failed error={publicKey.error} retry={() => publicKey.mutate()} />}
      {secret.data && (
        <Stack gap="xs">
          <CodeBlock text={secret.data.secret} label={t("secret")} wrap />
          {secret.data.previous.map((one) => (
            <Alert key={one.secret} color="yellow">
              <Text size="sm">{rich("previous", { when: <Time key="at" at={one.expires_at} exact /> })}</Text>
              <CodeBlock text={one.secret} hiddenLabel={t("secret")} wrap />
            </Alert>
          ))}
        </Stack>
      )}
      {publicKey.data && <CodeBlock text={publicKey.data.public_key} label={t("publicKey")} wrap />}
      <Group align="flex-end">
        <NativeSelect
          label={t("overlap")}
          value={hours}
          onChange={(event) => setHours(event.currentTarget.value)}
          data={HOURS.map((n) => ({ value: String(n), label: t(`overlap_${n}`) }))}
        />
        <Button variant="default" onClick={() => rotate.mutate()} loading={rotate.isPending}>
          {t("rotate")}
        </Button>
      </Group>
    </Section>
  );
}
