/** What a form edits: it stays as it was while somebody types, and says so when somebody else has saved another version. */
import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { createContext, Fragment, type ReactNode, useContext, useEffect, useState } from "react";
import { Json } from "./Json";
import { t } from "./texts";
import { anythingTyped } from "./useGuard";

interface Versioned {
  updated_at: string;
}

interface Edit {
  /** The version that a change is made to: the `If-Match` of the request. */
  version: string | undefined;
  /** Notes the version that a request of this page has made. */
  saved: (version: string) => void;
}

const Context = createContext<Edit>({ version: undefined, saved: () => undefined });

/** Returns the version of what is edited around a form, and what notes the next one. */
export const useEdit = () => useContext(Context);

interface Props<T extends Versioned> {
  /** As it is on the server now. */
  data: T;
  /** What is shown of a version that somebody else has saved. */
  theirs?: (data: T) => unknown;
  children: (one: T) => ReactNode;
}

export function Edited<T extends Versioned>({ data, theirs, children }: Props<T>) {
  const [version, setVersion] = useState(data.updated_at);
  const [shown, setShown] = useState(data);
  const [round, setRound] = useState(0);
  const newer = data.updated_at > version;

  // biome-ignore lint/correctness/useExhaustiveDependencies: only other data are a reason.
  useEffect(() => {
    if (!newer) setShown(data);
    else if (!anythingTyped()) take();
  }, [data]);

  function take() {
    setVersion(data.updated_at);
    setShown(data);
    // A new form, which shows what was taken.
    setRound((before) => before + 1);
  }

  return (
    <Context value={{ version, saved: setVersion }}>
      {newer && anythingTyped() && (
        <ConflictAlert theirs={theirs?.(data)} keepMine={() => setVersion(data.updated_at)} takeTheirs={take} />
      )}
      <Fragment key={round}>{children(data.updated_at === version ? data : shown)}</Fragment>
    </Context>
  );
}

interface ConflictProps {
  /** What somebody else has saved. */
  theirs?: unknown;
  keepMine: () => void;
  takeTheirs: () => void;
}

/** Theirs beside mine, and which of them stays. */
export function ConflictAlert({ theirs, keepMine, takeTheirs }: ConflictProps) {
  return (
    <Alert color="orange" title={t("conflict")} role="alert" mb="md">
      <Stack gap="sm">
        <Text size="sm">{t("conflictBody")}</Text>
        {theirs !== undefined && <Json label={t("theirs")} value={theirs} />}
        <Group>
          <Button size="xs" onClick={keepMine}>
            {t("keepMine")}
          </Button>
          <Button size="xs" variant="default" onClick={takeTheirs}>
            {t("takeTheirs")}
          </Button>
        </Group>
      </Stack>
    </Alert>
  );
}
