"""The filters of templates by name: those of Klaviyo and Django, and those of Liquid that do more here.

Results follow the documentation of the built-in filters of Django and of `humanize`, except that null, true and false
are written as in Liquid. A filter that needs the current time or the mode of the template takes the context.
"""

from collections.abc import Callable
from typing import Any

from waypost.domain.templates.liquid.date_filters import date, format_date_string, time
from waypost.domain.templates.liquid.html_filters import (
    force_escape,
    linebreaks,
    linebreaksbr,
    safe,
    strip_html,
    striptags,
    urlencode,
)
from waypost.domain.templates.liquid.id_filters import numeric_id
from waypost.domain.templates.liquid.list_filters import join, length, uniq
from waypost.domain.templates.liquid.number_filters import add, divisibleby, floatformat, intcomma, pluralize, times
from waypost.domain.templates.liquid.text_filters import (
    addslashes,
    capfirst,
    cut,
    lower,
    padded,
    replace,
    slice_part,
    slugify,
    title,
    truncatechars,
    truncatewords,
    upper,
    wordcount,
)
from waypost.domain.templates.liquid.value_filters import as_json, default, default_if_none, lookup, yesno

Filter = Callable[..., Any]

#: The filters by name. They replace filters of Liquid of the same name.
FILTERS: dict[str, Filter] = {
    "add": add,
    "addslashes": addslashes,
    "capfirst": capfirst,
    "center": padded(str.center),
    "cut": cut,
    "date": date,
    "default": default,
    "default_if_none": default_if_none,
    "divisibleby": divisibleby,
    "floatformat": floatformat,
    "force_escape": force_escape,
    "format_date_string": format_date_string,
    "intcomma": intcomma,
    "join": join,
    "json": as_json,
    "length": length,
    "linebreaks": linebreaks,
    "linebreaksbr": linebreaksbr,
    "ljust": padded(str.ljust),
    "lookup": lookup,
    "lower": lower,
    "numeric_id": numeric_id,
    "pluralize": pluralize,
    "replace": replace,
    "rjust": padded(str.rjust),
    "safe": safe,
    "slice": slice_part,
    "slugify": slugify,
    "strip_html": strip_html,
    "striptags": striptags,
    "time": time,
    "times": times,
    "title": title,
    "truncatechars": truncatechars,
    "truncatewords": truncatewords,
    "uniq": uniq,
    "upper": upper,
    "urlencode": urlencode,
    "wordcount": wordcount,
    "yesno": yesno,
}
#: Filters that handle undefined variables: a variable before them is not reported as undefined.
TOLERANT = frozenset({"default", "yesno", "lookup", "size", "length", "numeric_id"})
