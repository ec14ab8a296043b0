/** The campaigns that send, are paused or are planned, with their progress. */
import { Anchor, Button, Group, Progress, Stack, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Schemas } from "@/api/client";
import { pauseCampaign, resumeCampaign, runningCampaigns } from "@/api/home";
import { useMay } from "@/api/me";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { toastError } from "@/parts/toasts";
import { t } from "./texts";

export function RunningCampaigns() {
  const query = useQuery(runningCampaigns);
  return (
    <Section title={t("campaigns")}>
      <States query={query} isEmpty={() => false}>
        {({ data }) =>
          data.length === 0 ? (
            <Text size="sm" c="dimmed">
              {t("noCampaigns")}
            </Text>
          ) : (
            <Stack>
              {data.map((campaign) => (
                <Running key={campaign.id} campaign={campaign} />
              ))}
            </Stack>
          )
        }
      </States>
    </Section>
  );
}

function Running({ campaign: { id, name, state, progress, next_at } }: { campaign: Schemas["Campaign"] }) {
  const may = useMay()("campaigns.write");
  const queries = useQueryClient();
  const change = useMutation({
    mutationFn: () => (state === "paused" ? resumeCampaign(id) : pauseCampaign(id)),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["campaigns"] }),
    onError: toastError,
  });
  const to: string = `/campaigns/${id}`;
  const share = progress.audience > 0 ? (progress.done / progress.audience) * 100 : 0;
  return (
    <div>
      <Group justify="space-between" wrap="nowrap">
        <Anchor component={Link} to={to} size="sm" style={{ overflowWrap: "anywhere" }}>
          {name}
        </Anchor>
        <Status value={state} />
      </Group>
      {state === "scheduled" ? (
        <Text size="xs" c="dimmed">
          {t("planned")} <Time at={next_at} exact />
        </Text>
      ) : (
        <>
          <Progress.Root my={6}>
            <Progress.Section value={share} aria-label={t("progressOf", { name })} />
          </Progress.Root>
          <Group justify="space-between">
            <Text size="xs" c="dimmed">
              {t("progress", progress)}
            </Text>
            {may && (
              <Button
                size="compact-xs"
                variant="default"
                aria-label={t(state === "paused" ? "resumeOf" : "pauseOf", { name })}
                loading={change.isPending}
                onClick={() => change.mutate()}
              >
                {t(state === "paused" ? "resume" : "pause")}
              </Button>
            )}
          </Group>
        </>
      )}
    </div>
  );
}
