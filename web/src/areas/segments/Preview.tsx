/** Who fits a condition, while it is written: asked when typing stops, and the question before it is cancelled. */
import { Anchor, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { previewQuery } from "@/api/segments";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { personName } from "@/parts/personName";
import { type Group, isComplete, writeCondition } from "./condition";
import { t } from "./texts";

const WAIT_MS = 400;

/** The condition as text once it has been the same for a while; nothing as long as it is incomplete. */
function useSettled(condition: Group): string | undefined {
  const now = isComplete(condition) ? JSON.stringify(writeCondition(condition)) : undefined;
  const [settled, setSettled] = useState(now);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(now), WAIT_MS);
    return () => clearTimeout(timer);
  }, [now]);
  return settled;
}

export function Preview({ condition }: { condition: Group }) {
  const settled = useSettled(condition);
  const preview = useQuery({
    ...previewQuery(settled === undefined ? {} : JSON.parse(settled)),
    enabled: settled !== undefined,
  });
  const { data } = preview;
  return (
    <Section title={t("preview")}>
      {settled === undefined ? (
        <Text size="sm" c="dimmed">
          {t("incomplete")}
        </Text>
      ) : preview.error ? (
        <FormProblem problem={preview.error} />
      ) : (
        <Stack gap="xs">
          <Text role="status" fw={600} style={{ opacity: preview.isFetching ? 0.6 : 1 }}>
            {data ? t(data.approximate ? "approximately" : "count", { n: data.count }) : t("counting")}
          </Text>
          {data?.approximate && (
            <Text size="sm" c="dimmed">
              {t("estimated")}
            </Text>
          )}
          {data && data.sample.length > 0 && (
            <ul aria-label={t("sample")} style={{ margin: 0, paddingInlineStart: "1.2rem" }}>
              {data.sample.map((one) => (
                <li key={one.id}>
                  <Anchor component={Link} to="/people/$id" params={{ id: one.id } as never} size="sm">
                    {personName(one)}
                  </Anchor>
                </li>
              ))}
            </ul>
          )}
        </Stack>
      )}
    </Section>
  );
}
