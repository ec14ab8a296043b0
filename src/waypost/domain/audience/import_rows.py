"""What the row of an import says about a person: identifiers, traits, lists, tags and subscriptions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from waypost.domain.audience.import_columns import Column, read_column
from waypost.domain.audience.import_files import FileRow, RowError
from waypost.domain.audience.lists import check_tag
from waypost.domain.audience.subscriptions import SubscriptionState
from waypost.domain.events.segment import ID_CHARACTERS, Entry, Identifier
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.errors import Invalid

#: The most characters of the value of a trait.
LONGEST_VALUE = 10_000
#: The most tags or lists in one cell.
MOST_WORDS = 100

_SEPARATORS = re.compile(r"[,;|]")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?")
_ROUNDED = re.compile(r"\d+(?:[.,]\d+)?[eE]\+?\d+")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_STATES = {
    **dict.fromkeys(("subscribed", "true", "yes", "1", "y", "opted_in"), SubscriptionState.SUBSCRIBED),
    **dict.fromkeys(("unsubscribed", "false", "no", "0", "n", "opted_out"), SubscriptionState.UNSUBSCRIBED),
}
_CHANNELS = {"sms": "phone", "email": "email"}
_object = msgspec.json.Encoder().encode


class ImportedPerson(msgspec.Struct, gc=False):
    """A row that is valid."""

    number: int
    #: The row as an identify call.
    entry: Entry
    tags: Sequence[str] = ()
    lists: Sequence[int] = ()
    #: Channel, normalised address and state.
    subscriptions: Sequence[tuple[str, str, SubscriptionState]] = ()


class RejectedRow(msgspec.Struct):
    """A row that is not valid."""

    number: int
    error: RowError
    cells: list[Any]


class RowReader:
    """Reads the rows of one file."""

    def __init__(
        self, columns: list[Column], mapping: dict[str, str | None] | None, lists: Mapping[str, int], workspace_id: int
    ) -> None:
        self._columns = columns
        self._mapping = mapping
        #: The lists of the workspace by name and by public id.
        self._lists = lists
        self._workspace_id = workspace_id
        #: The columns of objects by key, found as they come.
        self._by_key: dict[str, Column] = {}

    def read(self, row: FileRow, now: int) -> ImportedPerson | RejectedRow:
        """Return the person of a row, or why the row is rejected."""
        if row.error is not None:
            return RejectedRow(row.number, row.error, row.cells)
        cells = row.cells
        if cells and type(cells[0]) is dict:
            return self._read_object(row, cells[0], now)
        columns = self._columns
        if len(cells) > len(columns):
            if any(cells[len(columns) :]):
                detail = f"The row has {len(cells)} cells; the file has {len(columns)} columns."
                return RejectedRow(row.number, RowError("too_many_cells", detail), cells)
            cells = cells[: len(columns)]
        joined = "".join(cells)
        if not joined.isprintable() and (wrong := _UNSTORABLE.search(joined)):
            return RejectedRow(row.number, _unstorable(wrong[0]), cells)
        try:
            return self._person(row.number, zip(columns, cells, strict=False), now)
        except _Wrong as wrong:
            return RejectedRow(row.number, wrong.error, row.cells)

    def _read_object(self, row: FileRow, found: dict[str, Any], now: int) -> ImportedPerson | RejectedRow:
        """Read an object, whose `traits` may be an object of its own."""
        traits = found.get("traits")
        if isinstance(traits, dict) and "traits" not in (self._mapping or {}):
            found = {name: value for name, value in found.items() if name != "traits"}
            found |= {f"traits.{name}": value for name, value in traits.items()}
        try:
            pairs = [(self._column(name), value) for name, value in found.items()]
            if wrong := _UNSTORABLE.search(_texts(found)):
                return RejectedRow(row.number, _unstorable(wrong[0]), row.cells)
            return self._person(row.number, pairs, now)
        except _Wrong as wrong_value:
            return RejectedRow(row.number, wrong_value.error, row.cells)
        except Invalid as error:
            return RejectedRow(row.number, RowError(error.code, error.detail), row.cells)

    def _column(self, name: str) -> Column:
        column = self._by_key.get(name)
        if column is None:
            column = read_column(name, self._mapping)
            if len(self._by_key) < 10_000:
                self._by_key[name] = column
        return column

    def _person(self, number: int, pairs: Iterable[tuple[Column, Any]], now: int) -> ImportedPerson:
        user_id = email = phone = None
        traits: dict[str, Any] = {}
        tags: Sequence[str] = ()
        lists: Sequence[int] = ()
        states: list[tuple[str, SubscriptionState, str]] = []
        for column, value in pairs:
            target = column.target
            if not target:
                continue
            if type(value) is str:
                value = value.strip()
                if not value:
                    continue
                first = value[0]
                if first == "=" and value[1:2] == '"' and value[-1] == '"' and len(value) > 2:
                    # A spreadsheet's way to keep leading zeros.
                    value = value[2:-1].strip()
                    if target == "trait":
                        traits[column.trait] = value
                        continue
                elif first == "'" and value[1:2] in ("=", "+", "-", "@"):
                    # What keeps a spreadsheet from running a formula.
                    value = value[1:]
            elif value is None:
                continue
            if target == "trait":
                traits[column.trait] = _value(value, column)
            elif target == "email":
                email = normal_email(value)
                if email is None:
                    raise _wrong("invalid_email", f"{_short(value)} is not an email address.", column)
            elif target == "phone":
                phone = _phone(value, column)
            elif target == "user_id":
                user_id = _user_id(value, column)
            elif target == "tags":
                tags = [*tags, *_tags(value, column)]
            elif target == "list":
                lists = [*lists, *self._list_ids(value, column)]
            else:
                states.append((target.partition(".")[2], _state(value, column), column.name))
        identifiers: list[Identifier] = []
        if user_id is not None:
            identifiers.append(("user_id", user_id))
        if email is not None:
            identifiers.append(("email", email))
        if phone is not None:
            identifiers.append(("phone", phone))
        if not identifiers:
            raise _wrong("no_identifier", "The row has no email address, phone number or user id.", None)
        addresses = {"sms": phone, "email": email}
        subscriptions = []
        for channel, state, name in states:
            address = addresses[channel]
            if address is None:
                raise _Wrong(RowError("no_address", f"A subscription needs the {_CHANNELS[channel]} of the row.", name))
            subscriptions.append((channel, address, state))
        entry = Entry(
            self._workspace_id, "identify", "", None, "", 0, tuple(identifiers), traits or None, now, now, b""
        )
        return ImportedPerson(number, entry, tags, lists, subscriptions)

    def _list_ids(self, value: Any, column: Column) -> list[int]:
        found = []
        for word in _words(value, column):
            list_id = self._lists.get(word)
            if list_id is None:
                raise _wrong("unknown_list", f"There is no list {_short(word)}.", column)
            found.append(list_id)
        return found


class _Wrong(Exception):
    def __init__(self, error: RowError) -> None:
        self.error = error


def _wrong(code: str, detail: str, column: Column | None) -> _Wrong:
    return _Wrong(RowError(code, detail, column.name if column else None))


def _unstorable(letter: str) -> RowError:
    if letter == "\0":
        return RowError("invalid_text", "The row has the character U+0000.")
    return RowError("invalid_encoding", "The row has bytes that are not text in the encoding of the file.")


def _short(value: Any) -> str:
    return repr(value[:80] if isinstance(value, str) else value)[:90]


def _texts(value: Any) -> str:
    """Return all texts in a JSON value, joined."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join([_texts(part) for pair in value.items() for part in pair])
    return "".join(map(_texts, value)) if isinstance(value, list) else ""


def _value(value: Any, column: Column) -> Any:
    """Return the value of a trait."""
    kind = column.kind
    if type(value) is not str:
        if isinstance(value, int | float) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
            raise _wrong("invalid_number", "A number must be within the range of 64 bits.", column)
        if isinstance(value, dict | list) and len(_object(value)) > LONGEST_VALUE:
            raise _wrong("value_too_long", f"A value has at most {LONGEST_VALUE} bytes.", column)
        return value
    if len(value) > LONGEST_VALUE:
        raise _wrong("value_too_long", f"A value has at most {LONGEST_VALUE} characters.", column)
    if kind == "text" or not (kind or value[0] in "-0123456789tTfF"):
        return value
    if kind != "boolean" and (_is_plain_integer(value) or _NUMBER.fullmatch(value)):
        return float(value) if "." in value else int(value)
    folded = value.lower()
    if kind != "number" and folded in ("true", "false"):
        return folded == "true"
    if kind == "boolean" and folded in _STATES:
        return _STATES[folded] is SubscriptionState.SUBSCRIBED
    if kind:
        raise _wrong(f"invalid_{kind}", f"{_short(value)} is not a {kind}.", column)
    return value


def _is_plain_integer(value: str) -> bool:
    """Return whether a text is an integer that _NUMBER matches too: most numbers are, and this is faster."""
    return value.isdecimal() and value.isascii() and value[0] != "0" and len(value) <= 15


def _phone(value: Any, column: Column) -> str:
    text = str(value)
    if _ROUNDED.fullmatch(text):
        raise _wrong(
            "rounded_number",
            f"A spreadsheet has rounded this phone number to {_short(text)}. Format the column as text, and export it "
            "again.",
            column,
        )
    phone = normal_phone("+" + text[2:] if text.startswith("00") else text)
    if phone is None:
        raise _wrong(
            "invalid_phone",
            f"{_short(text)} is not a phone number with its country code, such as +12025550101.",
            column,
        )
    return phone


def _user_id(value: Any, column: Column) -> str:
    text = str(value)
    if _ROUNDED.fullmatch(text):
        raise _wrong("rounded_number", f"A spreadsheet has rounded this id to {_short(text)}.", column)
    if len(text) > ID_CHARACTERS or not text.isprintable():
        raise _wrong("invalid_user_id", f"A user id has at most {ID_CHARACTERS} printable characters.", column)
    return text


def _words(value: Any, column: Column) -> list[str]:
    words = value if isinstance(value, list) else _SEPARATORS.split(str(value))
    if len(words) > MOST_WORDS or not all(isinstance(word, str) for word in words):
        raise _wrong("too_many_words", f"A cell may name at most {MOST_WORDS}, as text.", column)
    return [word.strip() for word in words if word.strip()]


def _tags(value: Any, column: Column) -> list[str]:
    try:
        return [check_tag(word) for word in _words(value, column)]
    except Invalid as error:
        raise _wrong(error.code, error.detail, column) from error


def _state(value: Any, column: Column) -> SubscriptionState:
    state = _STATES.get(str(value).lower())
    if state is None:
        raise _wrong("invalid_subscription", f"{_short(value)} is neither subscribed nor unsubscribed.", column)
    return state
