/** A form that keeps what was typed when a request fails, and shows the errors of the API beside their fields. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { type FieldError, Problem } from "@/api/problem";

type Checks<Values> = { [Key in keyof Values]?: (value: Values[Key], values: Values) => string | undefined };

interface Options<Values extends object, Result> {
  initial: Values;
  /** Sends the values; what it throws is shown. */
  send: (values: Values) => Promise<Result>;
  done?: (result: Result, values: Values) => void;
  /** What can be said before sending, by field: shown when a field is left, and for all fields when sending. */
  checks?: Checks<Values>;
  /** Where the fields of the API differ from those of the form: `{ "config.host": "host" }`. */
  names?: Readonly<Record<string, keyof Values & string>>;
}

export interface Field<Value> {
  name: string;
  value: Value;
  error: string | undefined;
  onChange: (change: Value | { currentTarget: { value: string; checked?: boolean } }) => void;
  onBlur: () => void;
}

/** A field with an error; boxes around fields are marked as well. */
const WRONG = ":is(input, textarea, select, button):is([aria-invalid=true], [data-error])";

export function useForm<Values extends object, Result>(options: Options<Values, Result>) {
  const { initial, checks = {} as Checks<Values>, names = {} } = options;
  type Key = keyof Values & string;
  const keys = Object.keys(initial) as Key[];
  const [values, setValues] = useState(initial);
  const [saved, setSaved] = useState(initial);
  const [errors, setErrors] = useState<Partial<Record<Key, string>>>({});
  const [places, setPlaces] = useState<FieldError[]>([]);
  const form = useRef<HTMLFormElement>(null);
  const queries = useQueryClient();
  const [focusWanted, setFocusWanted] = useState(0);

  const sending = useMutation({
    mutationFn: options.send,
    onSuccess: (result, sent) => {
      setSaved(sent);
      options.done?.(result, sent);
    },
    onError: (error) => {
      if (!(error instanceof Problem)) return;
      // What is shown is old: the page gets what somebody else has saved, and says so.
      if (error.code === "precondition_failed") void queries.invalidateQueries();
      setErrors(assign(error.fields, keys, names));
      setPlaces(error.fields);
      setFocusWanted((count) => count + 1);
    },
  });

  // After the errors are shown: the first wrong field, in the order of the page.
  useEffect(() => {
    if (focusWanted > 0) form.current?.querySelector<HTMLElement>(WRONG)?.focus();
  }, [focusWanted]);

  function check(name: Key): string | undefined {
    return checks[name]?.(values[name], values);
  }

  function set<Name extends Key>(name: Name, value: Values[Name]): void {
    setValues((before) => ({ ...before, [name]: value }));
    setErrors((before) => ({ ...before, [name]: undefined }));
    setPlaces((before) => before.filter((place) => keyOf(place.field, keys, names) !== name));
  }

  function submit(event?: FormEvent): void {
    event?.preventDefault();
    if (sending.isPending) return;
    const found: Partial<Record<Key, string>> = {};
    for (const name of Object.keys(checks) as Key[]) {
      const problem = check(name);
      if (problem) found[name] = problem;
    }
    setErrors(found);
    setPlaces([]);
    if (Object.keys(found).length > 0) setFocusWanted((count) => count + 1);
    else sending.mutate(values);
  }

  /** The props of an input for a field; `kind` says how a change is read. */
  function field<Name extends Key>(name: Name): Field<Values[Name]> {
    return {
      name,
      value: values[name],
      error: errors[name],
      onChange: (change) => set(name, read<Values[Name]>(change, values[name])),
      onBlur: () => {
        const problem = check(name);
        if (problem) setErrors((before) => ({ ...before, [name]: problem }));
      },
    };
  }

  const problem = sending.error;
  const shown = problem instanceof Problem && Object.keys(assign(problem.fields, keys, names)).length > 0;
  return {
    values,
    set,
    field,
    /** The props of the form element. */
    form: { ref: form, onSubmit: submit, noValidate: true },
    submit,
    pending: sending.isPending,
    /** What sending returned, until it is reset. */
    result: sending.data,
    /** The error that belongs to no field. */
    problem: shown ? null : problem,
    errors,
    /** What the API says of a place inside a field: `errorAt("quiet_hours.0.max_hold")`. */
    errorAt: (path: string) => places.find(({ field }) => field === path)?.detail,
    /** Whether the error of a field is one of a place inside it: `quiet_hours.0.max_hold`. */
    isInside: (name: Key) => places.some(({ field }) => new RegExp(`^${name}\\.\\d+\\.`).test(field)),
    /** Whether something was typed that is not sent. */
    changed: JSON.stringify(values) !== JSON.stringify(saved),
    /** Starts again with other values, as when another object is shown. */
    reset: (next: Values = initial) => {
      setValues(next);
      setSaved(next);
      setErrors({});
      setPlaces([]);
      sending.reset();
    },
  };
}

/** Reads the event of a text field or check box; parts that give the value itself are taken as they are. */
function read<Value>(change: Value | { currentTarget: { value: string; checked?: boolean } }, before: Value): Value {
  if (typeof change === "object" && change !== null && "currentTarget" in change) {
    const { value, checked } = change.currentTarget;
    return (typeof before === "boolean" ? checked : value) as Value;
  }
  return change as Value;
}

/** Returns the field of the form whose path is, or begins, the path of the API. */
function keyOf<Key extends string>(
  field: string,
  keys: readonly Key[],
  names: Readonly<Record<string, string>>,
): Key | undefined {
  const steps = field.split(".");
  for (let length = steps.length; length > 0; length--) {
    const path = steps.slice(0, length).join(".");
    const key = (names[path] ?? path) as Key;
    if (keys.includes(key)) return key;
  }
  return undefined;
}

/** Gives each error to its field of the form; the first of several is shown. */
function assign<Key extends string>(
  found: FieldError[],
  keys: readonly Key[],
  names: Readonly<Record<string, string>>,
): Partial<Record<Key, string>> {
  const errors: Partial<Record<Key, string>> = {};
  for (const { field, detail } of found) {
    const key = keyOf(field, keys, names);
    if (key) errors[key] ??= detail;
  }
  return errors;
}
