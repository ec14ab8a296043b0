/** Chooses event types: from a list by groups that can be searched, whole groups, everything, or a pattern that is typed. */
import { Button, Checkbox, Fieldset, Group, Pill, ScrollArea, Stack, Text, TextInput } from "@mantine/core";
import "@mantine/core/styles/Fieldset.css";
import "@mantine/core/styles/Pill.css";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { eventTypesQuery } from "@/api/eventTypes";
import { t } from "./texts";

interface Props {
  value: string[];
  onChange: (types: string[]) => void;
  error?: string;
}

const groupOf = (type: string) => type.slice(0, type.indexOf(".") + 1) || type;

export function EventTypes({ value, onChange, error }: Props) {
  const types = useQuery(eventTypesQuery).data?.data ?? [];
  const [search, setSearch] = useState("");
  const [own, setOwn] = useState("");
  const all = value.includes("*");
  const wanted = search.trim().toLowerCase();
  const found = types.filter(({ type, description }) => `${type} ${description}`.toLowerCase().includes(wanted));
  const groups = [...new Set(found.map(({ type }) => groupOf(type)))];
  const listed = new Set(types.flatMap(({ type }) => [type, `${groupOf(type)}*`]));
  const others = value.filter((type) => type !== "*" && !listed.has(type));

  const put = (type: string, on: boolean) => {
    const rest = value.filter((one) => one !== type);
    onChange(on ? [...rest, type] : rest);
  };
  /** A group holds its types, which need not stand beside it. */
  const putGroup = (group: string, on: boolean) => {
    const rest = value.filter((one) => groupOf(one) !== group);
    onChange(on ? [...rest, `${group}*`] : rest);
  };
  const addOwn = () => {
    const type = own.trim().toLowerCase();
    if (type && !value.includes(type)) onChange([...value, type]);
    setOwn("");
  };

  return (
    <Fieldset legend={t("eventTypes")}>
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          {t("eventTypesHint")}
        </Text>
        {error && (
          <Text size="sm" c="red" role="alert">
            {error}
          </Text>
        )}
        <Checkbox
          label={t("all")}
          checked={all}
          error={Boolean(error)}
          onChange={(event) => onChange(event.currentTarget.checked ? ["*"] : [])}
        />
        {!all && (
          <>
            <TextInput
              type="search"
              label={t("searchTypes")}
              value={search}
              onChange={(event) => setSearch(event.currentTarget.value)}
              onKeyDown={(event) => event.key === "Enter" && event.preventDefault()}
            />
            <ScrollArea.Autosize mah={320} type="auto" viewportProps={{ tabIndex: 0 }}>
              <Stack gap="sm">
                {types.length > 0 && found.length === 0 && <Text size="sm">{t("noTypesFound")}</Text>}
                {groups.map((group) => {
                  const whole = value.includes(`${group}*`);
                  return (
                    <Stack key={group} gap={6}>
                      <Checkbox
                        fw={500}
                        label={t("group", { group: `${group}*` })}
                        checked={whole}
                        onChange={(event) => putGroup(group, event.currentTarget.checked)}
                      />
                      {found
                        .filter(({ type }) => groupOf(type) === group)
                        .map(({ type, description }) => (
                          <Checkbox
                            key={type}
                            ms="lg"
                            label={type}
                            description={description}
                            checked={whole || value.includes(type)}
                            disabled={whole}
                            onChange={(event) => put(type, event.currentTarget.checked)}
                          />
                        ))}
                    </Stack>
                  );
                })}
              </Stack>
            </ScrollArea.Autosize>
            <Group align="flex-end" gap="xs">
              <TextInput
                label={t("ownType")}
                description={t("ownTypeHint")}
                value={own}
                onChange={(event) => setOwn(event.currentTarget.value)}
                onKeyDown={(event) => {
                  if (event.key !== "Enter") return;
                  event.preventDefault();
                  addOwn();
                }}
              />
              <Button variant="default" onClick={addOwn}>
                {t("add")}
              </Button>
            </Group>
            {others.length > 0 && (
              <Group gap={6} aria-label={t("chosen")} role="group">
                {others.map((type) => (
                  <Pill
                    key={type}
                    withRemoveButton
                    onRemove={() => put(type, false)}
                    removeButtonProps={{ "aria-label": t("remove", { type }), "aria-hidden": false, tabIndex: 0 }}
                  >
                    {type}
                  </Pill>
                ))}
              </Group>
            )}
          </>
        )}
      </Stack>
    </Fieldset>
  );
}
