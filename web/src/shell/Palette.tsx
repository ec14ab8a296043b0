/** The command palette: pages by name, people by address or id, messages by id. Ctrl or Cmd with K opens it. */
import { ActionIcon, Button, Kbd, Modal, TextInput } from "@mantine/core";
import { useDebouncedValue, useMediaQuery } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useId, useState } from "react";
import { useMay } from "@/api/me";
import { type Found, searchQuery } from "@/api/search";
import { useCommandKey } from "@/parts/useKeys";
import classes from "./Palette.module.css";
import { PAGES, SETTINGS, WITHIN } from "./pages";
import { t } from "./texts";

const ADDRESSES = { person: "/people", message: "/messages", webhook: "/webhooks", campaign: "/campaigns" } as const;

export function Palette() {
  const [open, setOpen] = useState(false);
  const wide = useMediaQuery("(min-width: 48em)");
  useCommandKey("k", () => setOpen(true));
  return (
    <>
      {wide ? (
        <Button
          variant="default"
          color="gray"
          size="xs"
          leftSection={<IconSearch size={14} aria-hidden />}
          rightSection={<Kbd size="xs">Ctrl K</Kbd>}
          onClick={() => setOpen(true)}
        >
          {t("search")}
        </Button>
      ) : (
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("search")} onClick={() => setOpen(true)}>
          <IconSearch size={20} aria-hidden />
        </ActionIcon>
      )}
      <Modal
        opened={open}
        onClose={() => setOpen(false)}
        title={t("searchLabel")}
        closeButtonProps={{ "aria-label": t("close") }}
        size="lg"
        yOffset="10vh"
      >
        <Search close={() => setOpen(false)} />
      </Modal>
    </>
  );
}

interface Choice {
  to: string;
  group: string;
  name: string;
}

function Search({ close }: { close: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const [settled] = useDebouncedValue(text.trim(), 200);
  const found = useQuery(searchQuery(settled));
  const may = useMay();
  const navigate = useNavigate();
  const id = useId();
  const wanted = text.trim().toLowerCase();
  const choices: Choice[] = [
    ...PAGES.filter(({ permission }) => permission === undefined || may(permission))
      .filter(({ name }) => t(name).toLowerCase().includes(wanted))
      .map(({ to, name }) => ({ to, group: t("pages"), name: t(name) })),
    // Only when they are looked for: the list is short without them.
    ...WITHIN.filter(({ permission }) => wanted && may(permission))
      .filter(({ name }) => t(name).toLowerCase().includes(wanted))
      .map(({ to, name }) => ({ to, group: t("people"), name: t(name) })),
    ...SETTINGS.filter(({ permission }) => wanted && may(permission))
      .filter(({ name }) => t(name).toLowerCase().includes(wanted))
      .map(({ to, name }) => ({ to, group: t("settings"), name: t(name) })),
    ...(wanted && found.data ? found.data : []).map((one) => ({
      to: `${ADDRESSES[one.kind]}/${one.id}`,
      group: t("found"),
      name: nameOf(one),
    })),
  ];
  const chosen = Math.min(at, choices.length - 1);

  function go(choice: Choice | undefined) {
    if (!choice) return;
    close();
    void navigate({ to: choice.to });
  }

  function walk(event: KeyboardEvent) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && choices.length > 0) {
      event.preventDefault();
      setAt((chosen + step + choices.length) % choices.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      go(choices[chosen]);
    }
  }

  return (
    <>
      <TextInput
        role="combobox"
        aria-label={t("searchLabel")}
        aria-expanded
        aria-controls={id}
        aria-activedescendant={choices[chosen] ? `${id}-${chosen}` : undefined}
        aria-autocomplete="list"
        leftSection={<IconSearch size={16} aria-hidden />}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={walk}
        autoComplete="off"
        spellCheck={false}
        data-autofocus
      />
      <div role="listbox" id={id} aria-label={t("searchLabel")} className={classes.list}>
        {choices.map((choice, index) => (
          // The field keeps the focus and walks the options, as in every combobox.
          // biome-ignore lint/a11y/useKeyWithClickEvents: Enter in the field does the same.
          // biome-ignore lint/a11y/useFocusableInteractive: aria-activedescendant names the option.
          <div
            key={choice.to}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === chosen}
            className={classes.option}
            onClick={() => go(choice)}
          >
            <span>{choice.name}</span>
            <small>{choice.group}</small>
          </div>
        ))}
      </div>
      {choices.length === 0 && !found.isFetching && (
        <p role="status" className={classes.none}>
          {t("noResults")}
        </p>
      )}
    </>
  );
}

function nameOf({ kind, name }: Found): string {
  if (kind === "message") return t("message", { to: name });
  if (kind === "webhook") return t("webhook", { url: name });
  return t(kind, { name });
}
