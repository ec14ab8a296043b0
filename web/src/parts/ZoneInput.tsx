/** A field for a time zone, which offers the names that the browser knows. */
import { TextInput, type TextInputProps } from "@mantine/core";
import { useId } from "react";

export function ZoneInput(props: TextInputProps) {
  const id = useId();
  return (
    <>
      <TextInput {...props} list={id} spellCheck={false} />
      <datalist id={id}>
        {Intl.supportedValuesOf("timeZone").map((zone) => (
          <option key={zone} value={zone} />
        ))}
      </datalist>
    </>
  );
}
