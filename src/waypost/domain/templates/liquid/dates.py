"""Dates and times in templates: read from data, formatted by the letters of Django or the codes of strftime."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

_MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905
#: Month names in Associated Press style, for the letter N.
_AP = "Jan. Feb. March April May June July Aug. Sept. Oct. Nov. Dec.".split()  # noqa: SIM905
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMPACT = re.compile(r"\d{8}\Z")
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](.+)\Z", re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,9})?\Z")
_PERCENT = re.compile(r"%(?:([-0^#_])?(\d{0,2}))?(.)|%", re.DOTALL)
#: From here on, numbers are milliseconds: as seconds they would lie after the year 5138.
_MILLISECONDS = 100_000_000_000

Letter = Callable[[datetime], str]


def read_moment(value: Any, now: int | None) -> datetime | None:
    """Return the time of a value, with its time zone (UTC if it has none), or None if the value is not a time.

    A value is an ISO 8601 text, a date, seconds or milliseconds since 1970, or `now` or `today` if `now` (microseconds
    since 1970) is given.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str):
        text = value.strip()
        if text in ("now", "today"):
            return None if now is None else _EPOCH + timedelta(microseconds=now)
        if not _NUMBER.match(text) or _COMPACT.match(text):
            return _read_iso(text)
        value = float(text)
    if isinstance(value, int | float):
        seconds = value / 1000 if abs(value) >= _MILLISECONDS else value
        try:
            return _EPOCH + timedelta(seconds=seconds)
        except (OverflowError, ValueError):
            return None
    return None


def _read_iso(text: str) -> datetime | None:
    if len(text) > 40:
        return None
    found = _ISO.match(text)
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2].replace(' ', '')}" if found else text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _hour12(at: datetime) -> int:
    return at.hour % 12 or 12


def _suffix(at: datetime) -> str:
    return "th" if at.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(at.day % 10, "th")


def _noon(at: datetime) -> str:
    return "a.m." if at.hour < 12 else "p.m."


def _clock(at: datetime) -> str:
    """Format as the letter f of Django: without the minutes if they are zero."""
    return f"{_hour12(at)}:{at.minute:02}" if at.minute else str(_hour12(at))


def _spoken(at: datetime) -> str:
    """Format as the letter P of Django: `1 a.m.`, `1:30 p.m.`, `midnight`, `noon`."""
    if at.minute == 0 and at.hour in (0, 12):
        return "noon" if at.hour else "midnight"
    return f"{_clock(at)} {_noon(at)}"


def _offset(at: datetime) -> int:
    """Return the offset from UTC in seconds, positive to the east."""
    return int((at.utcoffset() or timedelta()).total_seconds())


def _signed(at: datetime) -> str:
    hours, minutes = divmod(abs(_offset(at)) // 60, 60)
    return f"{'-' if _offset(at) < 0 else '+'}{hours:02}{minutes:02}"


def _zone(at: datetime) -> str:
    return at.tzname() or _signed(at)


def _time(at: datetime) -> str:
    return f"{at.hour:02}:{at.minute:02}:{at.second:02}"


def _leap(at: datetime) -> bool:
    return at.year % 4 == 0 and (at.year % 100 != 0 or at.year % 400 == 0)


def _month_length(at: datetime) -> int:
    return 29 if at.month == 2 and _leap(at) else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[at.month - 1]


def _year_day(at: datetime) -> int:
    return at.timetuple().tm_yday


def _timestamp(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(seconds=1)


#: The letters of the `date` filter of Django (source: its documentation). Other characters are literal.
DJANGO: dict[str, Letter] = {
    "d": lambda at: f"{at.day:02}",
    "j": lambda at: str(at.day),
    "D": lambda at: _DAYS[at.weekday()][:3],
    "l": lambda at: _DAYS[at.weekday()],
    "S": _suffix,
    "w": lambda at: str((at.weekday() + 1) % 7),
    "z": lambda at: str(_year_day(at)),
    "W": lambda at: str(at.isocalendar().week),
    "m": lambda at: f"{at.month:02}",
    "n": lambda at: str(at.month),
    "M": lambda at: _MONTHS[at.month - 1][:3],
    "b": lambda at: _MONTHS[at.month - 1][:3].lower(),
    "E": lambda at: _MONTHS[at.month - 1],
    "F": lambda at: _MONTHS[at.month - 1],
    "N": lambda at: _AP[at.month - 1],
    "t": lambda at: str(_month_length(at)),
    "y": lambda at: f"{at.year % 100:02}",
    "Y": lambda at: f"{at.year:04}",
    "L": lambda at: str(_leap(at)),
    "o": lambda at: str(at.isocalendar().year),
    "g": lambda at: str(_hour12(at)),
    "G": lambda at: str(at.hour),
    "h": lambda at: f"{_hour12(at):02}",
    "H": lambda at: f"{at.hour:02}",
    "i": lambda at: f"{at.minute:02}",
    "s": lambda at: f"{at.second:02}",
    "u": lambda at: f"{at.microsecond:06}",
    "a": _noon,
    "A": lambda at: "AM" if at.hour < 12 else "PM",
    "f": _clock,
    "P": _spoken,
    "e": _zone,
    "I": lambda at: "1" if at.dst() else "0",
    "O": _signed,
    "T": _zone,
    "Z": lambda at: str(_offset(at)),
    "c": lambda at: at.isoformat(),
    "r": lambda at: (
        f"{_DAYS[at.weekday()][:3]}, {at.day:02} {_MONTHS[at.month - 1][:3]} {at.year:04} {_time(at)} {_signed(at)}"
    ),
    "U": lambda at: str(_timestamp(at)),
}

#: The portable codes of strftime: the function, the width and the padding.
STRFTIME: dict[str, tuple[Letter, int, str]] = {
    "a": (lambda at: _DAYS[at.weekday()][:3], 0, " "),
    "A": (lambda at: _DAYS[at.weekday()], 0, " "),
    "b": (lambda at: _MONTHS[at.month - 1][:3], 0, " "),
    "h": (lambda at: _MONTHS[at.month - 1][:3], 0, " "),
    "B": (lambda at: _MONTHS[at.month - 1], 0, " "),
    "c": (
        lambda at: f"{_DAYS[at.weekday()][:3]} {_MONTHS[at.month - 1][:3]} {at.day:2} {_time(at)} {at.year:04}",
        0,
        " ",
    ),
    "C": (lambda at: str(at.year // 100), 2, "0"),
    "d": (lambda at: str(at.day), 2, "0"),
    "D": (lambda at: f"{at.month:02}/{at.day:02}/{at.year % 100:02}", 0, " "),
    "e": (lambda at: str(at.day), 2, " "),
    "F": (lambda at: f"{at.year:04}-{at.month:02}-{at.day:02}", 0, " "),
    "G": (lambda at: str(at.isocalendar().year), 4, "0"),
    "g": (lambda at: str(at.isocalendar().year % 100), 2, "0"),
    "H": (lambda at: str(at.hour), 2, "0"),
    "I": (lambda at: str(_hour12(at)), 2, "0"),
    "j": (lambda at: str(_year_day(at)), 3, "0"),
    "k": (lambda at: str(at.hour), 2, " "),
    "l": (lambda at: str(_hour12(at)), 2, " "),
    "L": (lambda at: str(at.microsecond // 1000), 3, "0"),
    "m": (lambda at: str(at.month), 2, "0"),
    "M": (lambda at: str(at.minute), 2, "0"),
    "n": (lambda at: "\n", 0, " "),
    "N": (lambda at: str(at.microsecond * 1000), 9, "0"),
    "p": (lambda at: "AM" if at.hour < 12 else "PM", 0, " "),
    "P": (lambda at: "am" if at.hour < 12 else "pm", 0, " "),
    "r": (lambda at: f"{_hour12(at):02}:{at.minute:02}:{at.second:02} {'AM' if at.hour < 12 else 'PM'}", 0, " "),
    "R": (lambda at: f"{at.hour:02}:{at.minute:02}", 0, " "),
    "s": (lambda at: str(_timestamp(at)), 0, "0"),
    "S": (lambda at: str(at.second), 2, "0"),
    "t": (lambda at: "\t", 0, " "),
    "T": (_time, 0, " "),
    "u": (lambda at: str(at.isoweekday()), 0, "0"),
    "U": (lambda at: str((_year_day(at) + 6 - (at.weekday() + 1) % 7) // 7), 2, "0"),
    "V": (lambda at: str(at.isocalendar().week), 2, "0"),
    "w": (lambda at: str((at.weekday() + 1) % 7), 0, "0"),
    "W": (lambda at: str((_year_day(at) + 6 - at.weekday()) // 7), 2, "0"),
    "x": (lambda at: f"{at.month:02}/{at.day:02}/{at.year % 100:02}", 0, " "),
    "X": (_time, 0, " "),
    "y": (lambda at: str(at.year % 100), 2, "0"),
    "Y": (lambda at: str(at.year), 4, "0"),
    "z": (_signed, 0, "0"),
    "Z": (_zone, 0, " "),
}
#: The named formats of Django, with their default values.
NAMED_FORMATS = {
    "DATE_FORMAT": "N j, Y",
    "DATETIME_FORMAT": "N j, Y, P",
    "TIME_FORMAT": "P",
    "SHORT_DATE_FORMAT": "m/d/Y",
    "SHORT_DATETIME_FORMAT": "m/d/Y P",
    "MONTH_DAY_FORMAT": "F j",
    "YEAR_MONTH_FORMAT": "F Y",
}


def wrong_code(form: str) -> str | None:
    """Return the first invalid `%` code of a format, or None. A format without `%` is one of Django, always valid."""
    for found in _PERCENT.finditer(form) if "%" in form else ():
        if found[3] is None or (found[3] != "%" and found[3] not in STRFTIME):
            return found[0]
    return None


def format_moment(at: datetime, form: str) -> str:
    """Format a time with strftime codes if the format contains `%`, else with Django letters. Raise ValueError."""
    if "%" not in form:
        return _format_django(at, NAMED_FORMATS.get(form, form))
    if (code := wrong_code(form)) is not None:
        raise ValueError(f"{code!r} is not a code of strftime")
    made: dict[str, str] = {}
    return _PERCENT.sub(lambda found: made.get(found[0]) or made.setdefault(found[0], _percent(at, found)), form)


def _format_django(at: datetime, form: str) -> str:
    parts, letters = [], iter(form)
    made: dict[str, str] = {}
    for letter in letters:
        if letter == "\\":
            parts.append(next(letters, "\\"))
        elif letter in made:
            parts.append(made[letter])
        else:
            made[letter] = DJANGO[letter](at) if letter in DJANGO else letter
            parts.append(made[letter])
    return "".join(parts)


def _percent(at: datetime, found: re.Match[str]) -> str:
    flag, width, code = found[1], found[2], found[3]
    if code == "%":
        return "%"
    write, natural, filler = STRFTIME[code]
    text = write(at)
    if flag in ("^", "#"):
        text = text.upper()
    filler = {"0": "0", "_": " "}.get(flag, filler) if flag else filler
    return text if flag == "-" else text.rjust(int(width or natural), filler)
