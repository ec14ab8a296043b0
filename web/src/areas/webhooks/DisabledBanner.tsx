/** Above a disabled endpoint: why, since when, the last error, and the way back with what it missed. */
import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useMay } from "@/api/me";
import { enableWebhook, type Webhook } from "@/api/webhooks";
import { Reason } from "@/parts/Reason";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { errorCode, errorWords } from "./errorWords";
import { has, rich, t } from "./texts";

export function DisabledBanner({ webhook }: { webhook: Webhook }) {
  const queries = useQueryClient();
  const may = useMay()("webhooks.write") && !webhook.text_client_id;
  const enable = useMutation({
    mutationFn: () => enableWebhook(webhook.id, true),
    onSuccess: ({ replay_id }) => {
      toast(replay_id ? t("enabledReplaying") : t("enabled"));
      void queries.invalidateQueries({ queryKey: ["webhooks"] });
    },
    onError: toastError,
  });
  const why = `disabled_${webhook.disabled_reason}`;
  const { dead, pending } = webhook.counts;
  return (
    <Alert
      color="red"
      variant="light"
      icon={<IconPlugConnectedX aria-hidden />}
      title={t("disabledTitle")}
      role="status"
    >
      <Stack gap="xs">
        <Text size="sm">
          {has(why) ? t(why) : webhook.disabled_reason}{" "}
          {rich("disabledSince", { when: <Time key="at" at={webhook.disabled_at} /> })}
        </Text>
        {webhook.last_error && <Reason code={errorCode(webhook.last_error)} text={errorWords(webhook.last_error)} />}
        <Text size="sm">{t("undelivered", { dead, pending })}</Text>
        {may && (
          <>
            <Text size="sm">{t("disabledSteps")}</Text>
            <Group>
              <Button onClick={() => enable.mutate()} loading={enable.isPending}>
                {t("enableReplay")}
              </Button>
            </Group>
          </>
        )}
      </Stack>
    </Alert>
  );
}
