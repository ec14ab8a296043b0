/** Recovery codes, shown once: to copy or download, until the person says that they are saved. */
import { Alert, Button, Group, Stack } from "@mantine/core";
import { CopyButton } from "@/parts/CopyButton";
import { download } from "@/parts/download";
import classes from "./SecondFactor.module.css";
import { t } from "./texts";

export function RecoveryCodes({ codes, done }: { codes: string[]; done: () => void }) {
  const text = `${codes.join("\n")}\n`;
  return (
    <Alert color="yellow" role="status" title={t("recovery")}>
      <Stack>
        <ul className={classes.codes}>
          {codes.map((code) => (
            <li key={code}>{code}</li>
          ))}
        </ul>
        <Group>
          <CopyButton text={text} words={t("recovery")} />
          <Button
            variant="default"
            size="xs"
            onClick={() => download("waypost-recovery-codes.txt", text, "text/plain")}
          >
            {t("download")}
          </Button>
          <Button size="xs" onClick={done}>
            {t("savedThem")}
          </Button>
        </Group>
      </Stack>
    </Alert>
  );
}
