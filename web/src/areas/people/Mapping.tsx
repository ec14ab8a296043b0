/** What each column of an imported file becomes. */
import { NativeSelect, Table, Text } from "@mantine/core";
import type { Import } from "@/api/imports";
import { t } from "./texts";

/** What the person chose; a column that is not in it is read by its name. */
export type Given = Record<string, string | null>;

interface Props {
  /** Without a target, where nobody has read the file yet: it is read by its name. */
  columns: (Pick<Import["columns"][number], "name"> & { target: string | null | undefined })[];
  given: Given;
  change: (next: Given) => void;
}

const NAMED = [
  "first_name",
  "last_name",
  "name",
  "title",
  "gender",
  "birthday",
  "company",
  "street",
  "city",
  "region",
  "postal_code",
  "country",
  "language",
  "timezone",
];

/** The choice that is none: what the name of the column says. */
const BY_NAME = "(by name)";

function options(column: string, now: string, unread: boolean) {
  const name = column.replace(/^traits\./, "");
  const all = [
    ...(unread ? [{ value: BY_NAME, label: t("target_by_name") }] : []),
    { value: "", label: t("target_ignore") },
    { value: "email", label: t("email") },
    { value: "phone", label: t("phone") },
    { value: "user_id", label: t("userId") },
    { value: `traits.${name}`, label: t("target_trait", { name }) },
    { value: `traits.${name}:number`, label: t("target_number", { name }) },
    { value: `traits.${name}:boolean`, label: t("target_boolean", { name }) },
    ...NAMED.map((one) => ({ value: one, label: t("target_named", { name: one }) })),
    { value: "tags", label: t("target_tags") },
    { value: "list", label: t("target_list") },
    { value: "subscription.email", label: t("target_mail") },
    { value: "subscription.sms", label: t("target_sms") },
  ];
  return all.some(({ value }) => value === now) ? all : [{ value: now, label: now }, ...all];
}

export function Mapping({ columns, given, change }: Props) {
  function choose(name: string, target: string) {
    const { [name]: _, ...others } = given;
    change(target === BY_NAME ? others : { ...others, [name]: target || null });
  }

  return (
    <div>
      <Text size="sm" c="dimmed" mb="xs">
        {t("columnsLead")}
      </Text>
      <Table.ScrollContainer minWidth={0} type="native">
        <Table aria-label={t("columns")} maw={640}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t("column")}</Table.Th>
              <Table.Th scope="col">{t("becomes")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {columns.map(({ name, target }) => {
              const chosen = name in given ? given[name] : target;
              const now = chosen === undefined ? BY_NAME : (chosen ?? "");
              return (
                <Table.Tr key={name}>
                  <Table.Th scope="row">{name}</Table.Th>
                  <Table.Td>
                    <NativeSelect
                      size="xs"
                      aria-label={t("becomesOf", { name })}
                      value={now}
                      onChange={(event) => choose(name, event.currentTarget.value)}
                      data={options(name, now, target === undefined)}
                    />
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </div>
  );
}
