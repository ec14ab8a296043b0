"""Convert TOML to a struct; errors name the line."""

import re
import tomllib
from typing import Any, TypeVar

import msgspec
import msgspec.inspect

T = TypeVar("T")
Path = tuple[str | int, ...]

LONGEST = 65_536

_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?\Z")
_KEY = re.compile(r"""\s*((?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"((?:[^"\\]|\\.)*)"|'([^']*)'""")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_TOML_PLACE = re.compile(r"\(at line (\d+), column \d+\)")
_NAMED = re.compile(r"field `([^`]*)`")


class TomlError(Exception):
    """A TOML text is not valid: under which keys, and why."""

    def __init__(self, path: Path, reason: str, *, further: int = 0, line: int | None = None) -> None:
        self.path = path
        self.reason = reason
        #: The line, if already known.
        self.line = line
        #: The number of lines below the first line of the value.
        self.further = further
        super().__init__(reason)


def read_table(text: str) -> dict[str, Any]:
    """Return the table of a TOML text. Raise TomlError if it is not TOML."""
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST:
        raise TomlError((), f"it has more than {LONGEST} bytes")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        reason = _TOML_PLACE.sub("", str(error)).replace("(at end of document)", "").strip()
        raise TomlError((), f"it is not TOML: {reason}", line=line) from error
    except RecursionError as error:
        raise TomlError((), "it is nested too deeply") from error


def convert(data: Any, type_: type[T], path: Path = ()) -> T:
    """Return the data as a value of this type. Raise TomlError, with the path, if it does not fit."""
    try:
        return msgspec.convert(data, type_, strict=True)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at ")
        steps = _steps(place.strip("`").removeprefix("$"))
        named = _NAMED.search(reason)
        if named and "unknown" in reason:
            steps = (*steps, named[1])
        allowed = _allowed(type_, steps, named is not None and "unknown" in reason)
        choices = f"; allowed are {', '.join(allowed)}" if allowed else ""
        raise TomlError((*path, *steps), reason[:1].lower() + reason[1:] + choices) from error


def _allowed(type_: Any, path: Path, unknown_key: bool) -> list[str]:
    """Return the allowed keys instead of an unknown key, or the allowed choices at a path of a type."""
    found = [msgspec.inspect.type_info(type_)]
    for step in path[:-1] if unknown_key else path:
        found = [inner for info in found for inner in _members(info, step)]
    if unknown_key:
        return [field.encode_name for info in found for one in _flat(info) for field in getattr(one, "fields", ())]
    return sorted(str(choice) for info in found for one in _flat(info) for choice in _choices(one))


def _flat(info: Any) -> list[Any]:
    if isinstance(info, msgspec.inspect.Metadata):
        return _flat(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return [inner for one in info.types for inner in _flat(one)]
    return [info]


def _members(info: Any, step: str | int) -> list[Any]:
    found = []
    for one in _flat(info):
        if isinstance(one, msgspec.inspect.StructType):
            found += [field.type for field in one.fields if field.encode_name == step]
        elif isinstance(one, msgspec.inspect.VarTupleType | msgspec.inspect.ListType) and isinstance(step, int):
            found.append(one.item_type)
    return found


def _choices(info: Any) -> list[Any]:
    if isinstance(info, msgspec.inspect.EnumType):
        return [member.value for member in info.cls]
    return list(info.values) if isinstance(info, msgspec.inspect.LiteralType) else []


def locate(text: str, path: Path) -> int | None:
    """Return the line, from 1, on which the value at a path or else its nearest parent starts."""
    lines = _lines(text)
    for length in range(len(path), 0, -1):
        if (line := lines.get(path[:length])) is not None:
            return line
    return None


def explain(text: str, wrong: TomlError) -> tuple[int, str]:
    """Return the line of an error, or of the nearest existing part, and its description."""
    # A part without any line belongs to the table at the start of the text.
    line = wrong.line or locate(text, wrong.path) or 1
    where = ".".join(str(step) for step in wrong.path)
    return line + wrong.further, f"{where}: {wrong.reason}" if where else wrong.reason


def _lines(text: str) -> dict[Path, int]:
    """Return the line on which each key and each table starts. Multi-line texts are skipped."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    open_quotes = ""
    for number, line in enumerate(text.splitlines(), 1):
        if open_quotes:
            if line.count(open_quotes) % 2:
                open_quotes = ""
            continue
        if header := _HEADER.match(line):
            keys = _parts(header[2])
            table = _within(keys[:-1], counts)
            last: Path = (*table, keys[-1])
            if header[1] == "[[":
                index = counts.get(last, -1) + 1
                counts[last] = index
                found.setdefault(last, number)
                last = (*last, index)
            elif last in counts:
                last = (*last, counts[last])
            table = last
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            path = table
            for part in _parts(key[1]):
                path = (*path, part)
                found.setdefault(path, number)
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2:
                open_quotes = quotes
    return found


def _within(keys: list[str], counts: dict[Path, int]) -> Path:
    """Return the path of a table. Below an array of tables it belongs to the last element so far."""
    path: Path = ()
    for key in keys:
        path = (*path, key)
        if path in counts:
            path = (*path, counts[path])
    return path


def _parts(text: str) -> list[str]:
    return [found[1] or found[2] or found[0].strip("\"'") for found in _PART.finditer(text)] or [text.strip()]


def _steps(place: str) -> Path:
    steps: list[str | int] = []
    for found in _STEP.finditer(place):
        if found[1] is not None:
            steps.append(found[1])
        elif found[2] != "...":
            steps.append(int(found[2]))
    return tuple(steps)
