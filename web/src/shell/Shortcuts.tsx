/** The shortcuts that hold everywhere, and the dialog of `?` that lists all of them. */
import { Kbd, Modal, Stack, Switch, Table } from "@mantine/core";
import "@mantine/core/styles/Switch.css";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "@/api/me";
import { singleKeysAreOff, switchSingleKeys, useKey, useSequence } from "@/parts/useKeys";
import { PAGES } from "./pages";
import { t } from "./texts";

export function Shortcuts() {
  const [open, setOpen] = useState(false);
  const [off, setOff] = useState(singleKeysAreOff);
  const navigate = useNavigate();
  const may = useMay();
  const pages = PAGES.filter(({ permission }) => permission === undefined || may(permission));

  useKey("?", () => setOpen(true));
  useKey("/", () => document.querySelector<HTMLElement>("[data-filters] input, [data-filters] select")?.focus());
  useSequence("g", Object.fromEntries(pages.map(({ to, key }) => [key, () => void navigate({ to })])));
  return (
    <Modal
      opened={open}
      onClose={() => setOpen(false)}
      title={t("shortcuts")}
      closeButtonProps={{ "aria-label": t("close") }}
      size="lg"
    >
      <Stack>
        <Switch
          label={t("singleKeys")}
          description={t("singleKeysHint")}
          checked={!off}
          onChange={(event) => {
            switchSingleKeys(event.currentTarget.checked);
            setOff(!event.currentTarget.checked);
          }}
        />
        <Keys
          title={t("anywhere")}
          rows={[
            [["Ctrl", "K"], t("openPalette")],
            [["?"], t("showShortcuts")],
            [["/"], t("focusFilter")],
            [["Esc"], t("closeShortcut")],
            ...pages.map(({ name, key }): Row => [["g", key], t("goTo", { page: t(name) })]),
          ]}
        />
        <Keys
          title={t("inLists")}
          rows={[
            [["j"], t("nextRow")],
            [["k"], t("previousRow")],
            [["Enter"], t("openRow")],
          ]}
        />
        <Keys title={t("inEditors")} rows={[[["Ctrl", "S"], t("saveShortcut")]]} />
      </Stack>
    </Modal>
  );
}

type Row = [keys: string[], what: string];

function Keys({ title, rows }: { title: string; rows: Row[] }) {
  return (
    <Table captionSide="top" aria-label={title}>
      <caption>{title}</caption>
      <Table.Tbody>
        {rows.map(([keys, what]) => (
          <Table.Tr key={what}>
            <Table.Th scope="row" fw={400}>
              {what}
            </Table.Th>
            <Table.Td ta="end">
              {keys.map((key) => (
                <Kbd key={key} ms={4}>
                  {key}
                </Kbd>
              ))}
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
