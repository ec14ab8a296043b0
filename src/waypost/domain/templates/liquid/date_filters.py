"""Filters for dates and times; dates.py reads and formats them."""

from typing import Any

from liquid.exceptions import FilterArgumentError
from liquid.filter import with_context
from liquid.undefined import is_undefined

from waypost.domain.templates.liquid.dates import format_moment, read_moment
from waypost.domain.templates.liquid.value_filters import as_text


@with_context
def date(value: Any, form: Any = "N j, Y", *, context: Any) -> Any:
    """Format a time by Django letters, or by strftime codes if the format has `%`; return other values unchanged."""
    at = read_moment(value, context.now)
    if at is None:
        return "" if value is None or is_undefined(value) else value
    try:
        return format_moment(at, as_text(form))
    except (ValueError, OverflowError) as error:
        raise FilterArgumentError(str(error), token=None) from error


@with_context
def time(value: Any, form: Any = "P", *, context: Any) -> Any:
    """Format the time of day, as `date` does."""
    return date(value, form, context=context)


@with_context
def format_date_string(value: Any, *, context: Any) -> Any:
    """Return the time in a text, for `date`; other values unchanged."""
    return read_moment(value, context.now) or value
