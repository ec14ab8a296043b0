"""The SQL of comparisons of values, for both databases: the same rules as `domain/audience/comparisons.py`."""

import math
from typing import Any

from waypost.domain.audience.comparisons import DATED, NUMERIC, Comparison, bound
from waypost.domain.audience.trait_indexes import text_key

_SIGNS = dict(zip(NUMERIC, (">", ">=", "<", "<="), strict=True))


class Parameters:
    """The parameters of a query that is being compiled; every value of a condition is bound, none is written out."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.values: dict[str, Any] = {}

    def add(self, value: Any, type_: str) -> str:
        """Bind a value; return the expression for it."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}" if self.dialect == "sqlite" else f"CAST(:{name} AS {type_})"


def compare_json(
    parameters: Parameters, source: str, path: tuple[str, ...], comparisons: tuple[Comparison, ...], now: int
) -> str:
    """Return the SQL for all comparisons of the value at a path in a column of JSON: true or false, never null."""
    if parameters.dialect == "sqlite":
        place = parameters.add("$" + "".join("[0]" if key == "[0]" else f'."{key}"' for key in path), "text")
        kind, value = f"json_type({source}, {place})", f"({source} ->> {place})"
        items = f"json_each({source}, {place})"
        return _every(parameters, comparisons, (kind, value, items), now)
    keys = parameters.add(["0" if key == "[0]" else key for key in path], "text[]")
    # The value is read once, whatever the planner makes of it.
    tests = _every(parameters, comparisons, ("json_typeof(x.v)", "(x.v #>> '{}')", "x.v"), now)
    return f"(SELECT {tests} FROM (SELECT waypost_json({source}, {keys}) AS v OFFSET 0) x)"


def compare_indexed(parameters: Parameters, comparison: Comparison) -> str:
    """Return the SQL for a comparison of a value `v` of an index; of `is_not`, for the values that it excludes."""
    operator, operand = comparison.operator, comparison.operand
    if operator == "exists":
        return "TRUE"
    if operator in _SIGNS:
        return f"v.number {_SIGNS[operator]} {parameters.add(operand, 'double precision')}"
    tests = []
    operands = operand if operator == "in" else (operand,)
    texts = [key for one in operands if (key := text_key(one, folded=True)) is not None]
    if texts:
        tests.append(_among("v.value", [parameters.add(key, "text") for key in texts]))
    numbers = [one for one in operands if isinstance(one, float)]
    if numbers:
        tests.append(_among("v.number", [parameters.add(one, "double precision") for one in numbers]))
    return tests[0] if len(tests) == 1 else "(" + " OR ".join(tests) + ")"


def _among(column: str, values: list[str]) -> str:
    # For one value an index has the profiles in their order.
    return f"{column} = {values[0]}" if len(values) == 1 else f"{column} IN ({', '.join(values)})"


def fold_sql(dialect: str, value: str) -> str:
    """Return the SQL for `fold` of a text."""
    if dialect == "postgres":
        return f"waypost_fold({value})"
    # SQLite's own function knows the case of ASCII letters only, and needs no call into Python.
    return f"(CASE WHEN octet_length({value}) = length({value}) THEN lower({value}) ELSE waypost_fold({value}) END)"


def has_part(dialect: str, text: str, part: str) -> str:
    """Return the SQL for whether a text contains another one."""
    return f"instr({text}, {part}) > 0" if dialect == "sqlite" else f"strpos({text}, {part}) > 0"


def begins_with(text: str, prefix: str) -> str:
    """Return the SQL for whether a text begins with another one."""
    return f"substr({text}, 1, length({prefix})) = {prefix}"


#: The type of a value, the value as text, and the elements of a list, as expressions.
_Value = tuple[str, str, str]


def _every(parameters: Parameters, comparisons: tuple[Comparison, ...], value: _Value, now: int) -> str:
    return "(" + " AND ".join(_compare(parameters, one, value, now) for one in comparisons) + ")"


def _compare(parameters: Parameters, comparison: Comparison, value: _Value, now: int) -> str:
    operator, operand = comparison.operator, comparison.operand
    kind, text, items = value
    there = f"coalesce({kind} <> 'null', FALSE)"
    if operator == "exists":
        return there if operand else f"NOT {there}"
    if operator == "is_not":
        return f"NOT {_equal(parameters, operand, kind, text, items)}"
    if operator == "is":
        return _equal(parameters, operand, kind, text, items)
    if operator == "in":
        return "(" + " OR ".join(_equal(parameters, one, kind, text, items) for one in operand) + ")"
    if operator == "contains":
        return _contains(parameters, operand, value)
    folded = fold_sql(parameters.dialect, text)
    string = "'text'" if parameters.dialect == "sqlite" else "'string'"
    if operator == "starts_with":
        test = begins_with(folded, parameters.add(operand, "text"))
        return f"(CASE WHEN {kind} = {string} THEN {test} ELSE FALSE END)"
    if operator in DATED:
        limit = parameters.add(bound(operand, now), "bigint")
        at = f"waypost_instant({text})"
        sign = "<" if operator == "before" else ">"
        dated = f"{kind} = {string}"
        if parameters.dialect == "sqlite":
            dated += f" AND {text} GLOB '[0-9][0-9][0-9][0-9]-*'"
        return f"coalesce(CASE WHEN {dated} THEN {at} {sign} {limit} ELSE FALSE END, FALSE)"
    sign = _SIGNS[operator]
    limit = parameters.add(operand, "double precision")
    test = f"coalesce({_number(parameters.dialect, kind, text, items)} {sign} {limit}, FALSE)"
    if parameters.dialect == "sqlite" and operator in ("gt", "gte"):
        # Most values fail one cheap comparison: a number that is large enough passes it, and so does every text.
        below = operand if operator == "gt" else math.nextafter(operand, -math.inf)
        return f"(coalesce({text} > {parameters.add(below, 'double precision')}, FALSE) AND {test})"
    return test


def _equal(parameters: Parameters, operand: Any, kind: str, text: str, items: str) -> str:
    if isinstance(operand, bool):
        if parameters.dialect == "sqlite":
            return f"coalesce({kind} = '{'true' if operand else 'false'}', FALSE)"
        return f"coalesce(CASE WHEN {kind} = 'boolean' THEN {text} = '{'true' if operand else 'false'}' END, FALSE)"
    if isinstance(operand, str):
        string = "'text'" if parameters.dialect == "sqlite" else "'string'"
        test = f"{fold_sql(parameters.dialect, text)} = {parameters.add(operand, 'text')}"
        return f"(CASE WHEN {kind} = {string} THEN {test} ELSE FALSE END)"
    limit = parameters.add(operand, "double precision")
    return f"coalesce({_number(parameters.dialect, kind, text, items)} = {limit}, FALSE)"


def _number(dialect: str, kind: str, text: str, value: str) -> str:
    if dialect == "postgres":
        return f"waypost_number({value})"
    return (
        f"(CASE {kind} WHEN 'integer' THEN CAST({text} AS REAL) WHEN 'real' THEN CAST({text} AS REAL) "
        f"WHEN 'text' THEN CASE WHEN {text} GLOB '[-0-9]*' THEN waypost_number({text}) END END)"
    )


def _contains(parameters: Parameters, operand: Any, value: _Value) -> str:
    kind, text, items = value
    if parameters.dialect == "sqlite":
        element = _equal(parameters, operand, "j.type", "j.value", "j.value")
        listed = f"EXISTS (SELECT 1 FROM {items} j WHERE {element})"
        string = "'text'"
    else:
        element = _equal(parameters, operand, "json_typeof(j.value)", "(j.value #>> '{}')", "j.value")
        listed = f"EXISTS (SELECT 1 FROM json_array_elements({items}) j WHERE {element})"
        string = "'string'"
    part = "FALSE"
    if isinstance(operand, str):
        part = has_part(parameters.dialect, fold_sql(parameters.dialect, text), parameters.add(operand, "text"))
    return f"(CASE {kind} WHEN 'array' THEN {listed} WHEN {string} THEN {part} ELSE FALSE END)"
