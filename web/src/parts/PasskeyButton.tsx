/** A button with which somebody proves by a passkey who they are; what went wrong stands above it. */
import { Anchor, Button, Stack, Text } from "@mantine/core";
import { IconFingerprint } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { type Me, setupQuery } from "@/api/me";
import { findObstacle, type Obstacle } from "@/api/passkeys";
import { Problem } from "@/api/problem";
import { FormProblem } from "./FormProblem";
import { signInWords, entryText as t } from "./signInWords";

interface Props {
  words: string;
  use: () => Promise<Me>;
  done: (me: Me) => void;
  /** Says always why there is no button; else only where another address has one. */
  explained?: boolean;
}

export function PasskeyButton({ words, use, done, explained = false }: Props) {
  const setup = useQuery(setupQuery).data;
  const using = useMutation({ mutationFn: use, onSuccess: done });
  if (!setup) return null;
  const obstacle = findObstacle(setup.passkey_origin);
  if (obstacle)
    return (
      (explained || obstacle === "address") && <PasskeyObstacle obstacle={obstacle} origin={setup.passkey_origin} />
    );
  return (
    <Stack gap="xs">
      <FormProblem problem={using.error && asProblem(using.error)} words={passkeyWords} />
      <Button
        variant="default"
        leftSection={<IconFingerprint size={18} aria-hidden />}
        onClick={() => using.mutate()}
        loading={using.isPending}
      >
        {words}
      </Button>
    </Stack>
  );
}

/** Why passkeys do not work on this page, and what to do. */
export function PasskeyObstacle({ obstacle, origin }: { obstacle: Obstacle; origin: string | null }) {
  return (
    <Text size="sm" c="dimmed">
      {t(OBSTACLES[obstacle])}
      {obstacle === "address" && origin && (
        <>
          {" "}
          <Anchor href={origin} size="sm">
            {origin}
          </Anchor>
        </>
      )}
    </Text>
  );
}

const OBSTACLES = { server: "passkeyServer", address: "passkeyAddress", browser: "passkeyBrowser" } as const;

/** Returns an error of the browser in words; it names its errors, and writes them for programmers. */
export function asProblem(error: Error): Error {
  if (error instanceof Problem) return error;
  if (error.name === "NotAllowedError" || error.name === "AbortError") return new Error(t("passkeyNotUsed"));
  if (error.name === "InvalidStateError") return new Error(t("passkeyKnown"));
  return new Error(t("passkeyFailed", { reason: error.message }));
}

function passkeyWords(problem: Problem): string | undefined {
  return problem.code === "wrong_passkey" || problem.code === "passkey_wrong"
    ? t("wrongPasskey")
    : signInWords(problem);
}
