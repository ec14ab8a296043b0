"""The body of a webhook with the tags of another tool: rendered plainly, or so that it stays valid JSON.

Klaviyo puts values into the text of a body as they are, so a quote or a line break in a name breaks the JSON around it.
The other way renders each string of the JSON on its own. JSON within a string, such as `callbackData`, is rendered
in the same way, string by string.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from waypost.domain.templates.liquid.context import Rendering, UndefinedVariable, place
from waypost.domain.templates.liquid.program import Program, compile_source
from waypost.errors import Invalid

#: The most characters of a body, in its source and rendered.
LONGEST_SOURCE = 100_000
LONGEST_BODY = 1_000_000
#: How often JSON may be nested in a string of JSON.
DEEPEST = 4

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^"{}\[\],:]+', re.DOTALL)
_TAG = re.compile(r"\{\{|\{%")
_WHOLE_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
#: The characters that a string of JSON must escape.
_SPECIAL = re.compile(r'["\\\x00-\x1f]')


class WebhookBody:
    """A compiled body."""

    __slots__ = ("_parts",)

    def __init__(self, parts: "list[str | Program | _Literal]") -> None:
        self._parts = parts

    def render(self, values: Mapping[str, Any], now: int | None = None) -> str:
        """Return the body for these values. Raise Invalid as `Program.render` does."""
        return self.write(Rendering(values, now))

    def undefined(self, values: Mapping[str, Any], now: int | None = None) -> list[UndefinedVariable]:
        """Return the undefined variables that the body outputs; they are empty in it."""
        rendering = Rendering(values, now, marking=True)
        self.write(rendering)
        return rendering.gaps or []

    def unsafe_fields(self, values: Mapping[str, Any], now: int | None = None) -> list[str]:
        """Return the fields with values that would break the JSON, or change it, if they were put in as they are."""
        found: list[str] = []
        self._find_unsafe(Rendering(values, now), found)
        return found

    def _find_unsafe(self, rendering: Rendering, found: list[str]) -> None:
        for part in self._parts:
            if isinstance(part, _Literal):
                if isinstance(part.inner, WebhookBody):
                    part.inner._find_unsafe(rendering, found)
                elif _count_special(part.inner.render(rendering)) > _count_special(_WHOLE_TAG.sub("", part.source)):
                    found.append(part.field)

    def write(self, rendering: Rendering) -> str:
        """Return the body; its cost counts against the budget of the rendering."""
        return "".join(part if isinstance(part, str) else part.render(rendering) for part in self._parts)


class _Literal:
    """A string of JSON that contains tags."""

    __slots__ = ("field", "inner", "source")

    def __init__(self, field: str, source: str, inner: Program | WebhookBody) -> None:
        self.field = field
        self.source = source
        self.inner = inner

    def render(self, rendering: Rendering) -> str:
        """Return the string with its quotes, and its content escaped."""
        inner = self.inner
        text = inner.write(rendering) if isinstance(inner, WebhookBody) else inner.render(rendering)
        return json.dumps(text, ensure_ascii=False)


def compile_body(source: str | dict[str, Any] | list[Any], *, plain: bool = False) -> WebhookBody:
    """Compile a body: a text with tags, or a JSON value with tags in its strings. `plain` substitutes as Klaviyo does.

    Raise Invalid (code `invalid_template`, with `field`, `line` and `column`) if a tag is not valid, or if the text is
    not JSON as long as its tags are not rendered, unless `plain` is given.
    """
    text = source if isinstance(source, str) else json.dumps(source, ensure_ascii=False, indent=2)
    if len(text) > LONGEST_SOURCE:
        raise Invalid(f"The body has more than {LONGEST_SOURCE} characters.", code="invalid_template", field="body")
    if plain:
        return WebhookBody([_compile(text, "body")])
    _check_json(text)
    return _compile_json(text, "body", 1)


def _compile(text: str, field: str) -> Program:
    return compile_source(text, html=False, longest=LONGEST_SOURCE, room=LONGEST_BODY, extra={"field": field})


def _compile_json(text: str, field: str, depth: int) -> WebhookBody:
    """Compile the strings of valid JSON; everything else stays as it is written."""
    parts: list[str | Program | _Literal] = []
    #: For each open bracket: the key or the position of the present value, None for an object before its key.
    path: list[str | int | None] = []
    for piece in _PIECE.findall(text):
        part: str | _Literal = piece
        if piece == "{":
            path.append(None)
        elif piece == "[":
            path.append(0)
        elif piece in ("}", "]"):
            path.pop()
        elif piece == ",":
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else None
        elif piece[0] == '"':
            content = json.loads(piece, strict=False)
            where = ".".join([field, *(str(step) for step in path if step is not None)])
            if _TAG.search(content):
                part = _Literal(where, content, _compile_content(content, where, depth))
            if path and path[-1] is None:
                path[-1] = content[:60]
        parts.append(part)
    return WebhookBody(parts)


def _compile_content(content: str, field: str, depth: int) -> Program | WebhookBody:
    if depth < DEEPEST and content.lstrip()[:1] in ("{", "[") and _is_json(content):
        return _compile_json(content, field, depth + 1)
    return _compile(content, field)


def _count_special(text: str) -> int:
    return len(_SPECIAL.findall(text))


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _check_json(text: str) -> None:
    if _is_json(text):
        return
    try:
        json.loads(text)
        line, column, reason = 1, 1, "it has numbers or letters that JSON does not allow"
    except json.JSONDecodeError as error:
        line, column = place(text, error.pos)
        reason = error.msg[:1].lower() + error.msg[1:]
    except RecursionError:
        line, column, reason = 1, 1, "it is nested too deeply"
    except ValueError:
        # Python reads no integers of more than 4300 digits.
        line, column, reason = 1, 1, "a number has too many digits"
    raise Invalid(
        f"The body is not JSON before its tags are rendered (line {line}, column {column}: {reason}). Write tags only "
        "inside strings, and use single quotes in them: {{ person.first_name|default:'' }}.",
        code="invalid_template",
        field="body",
        line=line,
        column=column,
    )
