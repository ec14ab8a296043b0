"""Request bodies: trees whose texts are Liquid, rendered value by value, then encoded as JSON or as a form.

Since each value is rendered separately, a quote or a newline in a value cannot break the surrounding body.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from waypost.domain.templates.liquid.expressions import Context, as_text, compile_value

#: The special keys of a table. `$json`: replaced by its value as a JSON text. `$if`: the table is left out if this is
#: empty or false. `$keep`: replaced by its value, kept even where empty values are dropped. `$merge`: adds the entries
#: of this object; the other entries of the table take precedence. `$each`: a list of what the table is for each message
#: of the call.
MARKS = frozenset({"$json", "$if", "$keep", "$merge", "$each"})
#: The only value of `$each`.
MESSAGES = "messages"
ENCODINGS = ("json", "form", "query", "none")
#: The most levels of nesting in a body.
DEEPEST = 20

_encode = msgspec.json.Encoder().encode
_ABSENT = object()
_PIECE = re.compile(r"(\{\{.*?\}\}|\{%.*?%\})", re.DOTALL)
#: A quote that no backslash escapes.
_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')
JSON_IN_TEXT = (
    "this is JSON inside a text, which a quote in a value would break; write the JSON itself under "
    '{"$json": …}, or each value without quotes as {{ … | json }}'
)


class BodyError(Exception):
    """A part of a body is not valid: under which keys, and why."""

    def __init__(self, path: tuple[str | int, ...], reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(reason)


def expressions(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every text of a body with its path. Raise BodyError for a part that cannot be sent."""
    if len(path) > DEEPEST:
        raise BodyError(path, f"a body may have at most {DEEPEST} levels of nesting")
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, Mapping):
        marks = {key for key in tree if key.startswith("$")}
        if unknown := marks - MARKS:
            raise BodyError(
                (*path, min(unknown)), f"unknown key {min(unknown)!r}; keys with $ are {', '.join(sorted(MARKS))}"
            )
        if marks & {"$json", "$keep"} and len(tree.keys() - {"$if"}) != 1:
            raise BodyError(path, "$json and $keep must be alone in their table, except for $if")
        if tree.get("$each", MESSAGES) != MESSAGES:
            raise BodyError((*path, "$each"), f"$each must be {MESSAGES!r}")
        for key, value in tree.items():
            if key != "$each":
                yield from expressions(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from expressions(value, (*path, index))
    elif tree is not None and not isinstance(tree, bool | int | float):
        raise BodyError(path, "a body may contain only texts, numbers, booleans, lists and tables")


def without_each(tree: Any) -> Any:
    """Return a body without the tables that stand for each message of a call; they become null."""
    if isinstance(tree, Mapping):
        return None if "$each" in tree else {key: without_each(value) for key, value in tree.items()}
    return [without_each(value) for value in tree] if isinstance(tree, list) else tree


def holds_broken_json(text: str) -> bool:
    """Return whether a text is JSON with an expression inside quotes, so that a quote in its value ends the string."""
    head = text.lstrip()
    if not head.startswith(("{", "[")) or head.startswith(("{{", "{%")):
        return False
    sample, quoted, inside = "", False, False
    for piece in _PIECE.split(text):
        if piece.startswith("{{"):
            inside = inside or quoted
            sample += "x" if quoted else "0"
        elif not piece.startswith("{%"):
            sample += piece
            quoted ^= len(_QUOTE.findall(piece)) % 2 == 1
    if not inside:
        return False
    try:
        msgspec.json.decode(sample)
    except (msgspec.DecodeError, RecursionError):
        return head[1:].lstrip().startswith(('"', "{"))
    return True


def render(tree: Any, context: Context, drop_empty: bool = False) -> Any:
    """Return the body with its expressions evaluated, or None if the whole body is left out."""
    value = _render(tree, context, drop_empty)
    return None if value is _ABSENT else value


def _render(tree: Any, context: Context, drop: bool) -> Any:
    if isinstance(tree, str):
        value = compile_value(tree)(context)
        return _ABSENT if drop and _empty(value) else value
    if isinstance(tree, Mapping):
        return _render_table(tree, context, drop)
    if isinstance(tree, list):
        items = [value for item in tree if (value := _render(item, context, drop)) is not _ABSENT]
        return _ABSENT if drop and not items else items
    return tree


def _render_table(tree: Mapping[str, Any], context: Context, drop: bool) -> Any:
    if "$each" in tree:
        one = {key: value for key, value in tree.items() if key != "$each"}
        items = [
            item
            for message in context.get(MESSAGES, [context])
            if (item := _render_table(one, message, drop)) is not _ABSENT
        ]
        return _ABSENT if drop and not items else items
    if "$if" in tree and _hollow(compile_value(str(tree["$if"]))(context)):
        return _ABSENT
    if "$keep" in tree:
        value = _render(tree["$keep"], context, False)
        return "" if value is None else value
    if "$json" in tree:
        inner = _render(tree["$json"], context, drop)
        return _encode({} if inner is _ABSENT else inner).decode()
    table: dict[str, Any] = {}
    if "$merge" in tree:
        merged = _render(tree["$merge"], context, False)
        table |= merged if isinstance(merged, Mapping) else {}
    for key, branch in tree.items():
        if key.startswith("$"):
            continue
        value = _render(branch, context, drop)
        if value is not _ABSENT:
            table[key] = value
    return _ABSENT if drop and not table else table


def write(value: Any, encoding: str) -> tuple[bytes, str]:
    """Return a rendered body as bytes, and its content type; both empty for `query` and `none`."""
    if encoding == "json":
        return (b"" if value is None else _encode(value)), "application/json"
    if encoding == "form":
        return urlencode(pairs(value)).encode(), "application/x-www-form-urlencoded"
    return b"", ""


def pairs(value: Any) -> list[tuple[str, str]]:
    """Return a rendered table as the fields of a form or a query. A list becomes one field per item."""
    if not isinstance(value, Mapping):
        return []
    found = []
    for key, item in value.items():
        for one in item if isinstance(item, list) else [item]:
            found.append((str(key), as_text(one)))
    return found


@lru_cache(maxsize=1024)
def read_text(text: str, encoding: str) -> Any:
    """Return the tree of a body given as a JSON or form text, whose values may be Liquid.

    Raise ValueError if the text is not in the encoding.
    """
    if not text.strip():
        return None
    if encoding == "json":
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(
                f"The body is not JSON: {error}. Expressions stand inside quotes: "
                '{"to": "{{ message.to }}"}; one that stands alone gives the value itself'
            ) from error
    found: dict[str, Any] = {}
    for line in text.splitlines():
        for name, value in parse_qsl(line.strip(), keep_blank_values=True, max_num_fields=200):
            if name in found:
                before = found[name]
                found[name] = [*(before if isinstance(before, list) else [before]), value]
            else:
                found[name] = value
    if not found:
        raise ValueError("The body is not a form: write name=value&name=value")
    return found


def _empty(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _hollow(value: Any) -> bool:
    return _empty(value) or value is False
