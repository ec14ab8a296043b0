/** Copies a text; says that it did. */
import { ActionIcon, Button, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { announce } from "./announce";
import { t } from "./texts";

interface Props {
  text: string | (() => string);
  /** What is copied, for the name of the button: "Copy the id". */
  what?: string;
  /** A button with these words instead of an icon. */
  words?: string;
  /** What is said after copying. */
  said?: string;
}

export function CopyButton({ text, what, words, said = t("copied") }: Props) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);

  async function copy() {
    await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
    setCopied(true);
    announce(said);
  }

  const Icon = copied ? IconCheck : IconCopy;
  if (words) {
    return (
      <Button variant="default" size="xs" leftSection={<Icon size={14} aria-hidden />} onClick={() => void copy()}>
        {copied ? t("copied") : words}
      </Button>
    );
  }
  const name = what ? t("copyWhat", { what }) : t("copy");
  return (
    <Tooltip label={copied ? t("copied") : name}>
      <ActionIcon variant="subtle" color="gray" size="sm" aria-label={name} onClick={() => void copy()}>
        <Icon size={14} aria-hidden />
      </ActionIcon>
    </Tooltip>
  );
}
