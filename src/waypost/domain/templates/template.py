"""Templates: content for a channel in one or more variants, checked when saved and rendered for one person."""

import hashlib
import html as html_escapes
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import msgspec
from liquid.exceptions import ResourceLimitError

from waypost.domain.messaging.message import Content
from waypost.domain.messaging.sms import SmsMeasure, measure
from waypost.domain.templates.html_text import collapse_blank_lines, text_of, text_template
from waypost.domain.templates.link_marks import LinkMarks, mark_links
from waypost.domain.templates.liquid.context import Rendering, UndefinedVariable, place
from waypost.domain.templates.liquid.lexer import TemplateError
from waypost.domain.templates.liquid.placeholders import makes_html
from waypost.domain.templates.liquid.program import Program, compile_source
from waypost.domain.templates.mjml import compile_mjml
from waypost.domain.templates.value_tree import compile_tree, render_tree
from waypost.errors import Error, Invalid

CHANNELS = ("sms", "email", "event")
#: The fields of each channel.
FIELDS = {
    "sms": ("text", "media_urls", "click_url"),
    "email": ("subject", "preheader", "html", "mjml", "text", "sender", "reply_to", "headers"),
    "event": ("metric", "properties"),
}
#: The most characters of a field: in its source, and rendered.
ROOM = {
    "text": (300_000, 1_000_000),
    "sms": (10_000, 10_000),
    "html": (500_000, 1_000_000),
    "mjml": (300_000, 1_000_000),
    "properties": (20_000, 100_000),
}
LINE_ROOM = (2_000, 2_000)
#: The characters of a mail whose text is derived for each person that cost one step.
HTML_PER_STEP = 4
MOST_VARIANTS = 20
MOST_MEDIA = 10
MOST_HEADERS = 30
LONGEST_NAME = 100
#: Names that every template has; the variables of a message cannot use them.
RESERVED = ("person", "event", "organization", "forloop")
#: Other names of the same traits in Klaviyo and Segment.
ALIASES = {
    "first_name": ("firstName", "$first_name"),
    "last_name": ("lastName", "$last_name"),
    "phone_number": ("phone",),
    "external_id": ("user_id",),
}

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_LINE_ENDS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_BODY = re.compile(r"<body\b[^>]*>", re.IGNORECASE)
_PREHEADER = (
    '<div style="display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px;'
    'mso-hide:all">{}</div>'
)


class TemplateSource(msgspec.Struct, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """The source of a variant, in Liquid. Which fields are used depends on the channel."""

    text: str = ""
    media_urls: list[str] = []
    click_url: str = ""
    subject: str = ""
    preheader: str = ""
    html: str = ""
    mjml: str = ""
    sender: str = ""
    reply_to: str = ""
    headers: dict[str, str] = {}
    metric: str = ""
    properties: dict[str, Any] = {}
    #: The HTML compiled from the MJML.
    made_html: str = ""


class Variant(msgspec.Struct, kw_only=True):
    """A variant of a template. Its weight is its share relative to the other variants."""

    name: str = "default"
    weight: float = 1.0
    content: TemplateSource


class Rendered(msgspec.Struct, kw_only=True):
    """The preview of a template."""

    variant: str
    #: Undefined variables are marked as `⟦name⟧`.
    content: Content
    undefined: list[UndefinedVariable]
    #: The measure of the text as sent, without the marks.
    sms: SmsMeasure | None = None


class CompiledVariant:
    """The compiled content of one variant."""

    __slots__ = ("_made", "_marks", "channel", "headers", "lines", "lists", "properties", "size", "texts")

    def __init__(
        self, channel: str, source: TemplateSource, variant: str | None = None, marks: LinkMarks | None = None
    ) -> None:
        self.channel = channel
        self._made: list[Program] = []
        #: The marks in the HTML; None if it has none.
        self._marks = None if makes_html(source.made_html or source.html or source.mjml) else marks

        def made(field: str, text: str, *, html: bool = False, room: str = "") -> Program:
            longest, width = ROOM.get(room) or ROOM.get(field, LINE_ROOM)
            change = None if self._marks is None or not html else partial(mark_links, marks=self._marks)
            extra = _place(field, variant)
            program = compile_source(text, html=html, longest=longest, room=width, extra=extra, change=change)
            self._made.append(program)
            return program

        #: The fields of a single line; `texts` has those of several.
        self.lines = {
            name: made(name, text)
            for name in ("click_url", "subject", "preheader", "sender", "reply_to", "metric")
            if (text := getattr(source, name))
        }
        self.lists = [made("media_urls", url) for url in source.media_urls]
        self.headers = {name: made("headers", value) for name, value in source.headers.items()}
        self.texts: dict[str, Program | None] = {"text": made("text", source.text, room=channel)} if source.text else {}
        if source.mjml:
            made("mjml", source.mjml, html=True)
            source.made_html = source.made_html or _html_of(source.mjml, variant)
            self.texts["html"] = made("mjml", source.made_html, html=True, room="html")
        elif source.html:
            self.texts["html"] = made("html", source.html, html=True)
        if "html" in self.texts and not source.text:
            self.texts["text"] = _text_program(source.made_html or source.html, made)
        self.properties = compile_tree(
            source.properties,
            lambda path, text: made(path, text, room="properties"),
            "properties",
            "The properties of an event",
        )
        self.size = sum(program.size for program in self._made)

    def _unmarked(self, html: str) -> str:
        return html if self._marks is None else self._marks.remove(html)

    def mentions(self, names: tuple[str, ...]) -> bool:
        """Return whether the text or the HTML uses one of these values."""
        sources = [program.source for program in self.texts.values() if program is not None]
        return any(name in source for name in names for source in sources)

    def render(self, rendering: Rendering, *, marked: bool = False) -> Content:
        """Return the content for these values. Raise Invalid as `Program.render` does.

        With `marked`, the links in the HTML are marked if the template was compiled with marks.
        """
        lines: dict[str, Any] = {name: _one_line(program.render(rendering)) for name, program in self.lines.items()}
        content = Content(**lines)
        if self.lists:
            content.media_urls = [url for program in self.lists if (url := _one_line(program.render(rendering)))]
        if self.headers:
            rendered = ((name, _one_line(program.render(rendering))) for name, program in self.headers.items())
            content.headers = {name: value for name, value in rendered if value}
        if (html := self.texts.get("html")) is not None:
            content.html = html.render(rendering)
        text = self.texts.get("text")
        if "text" in self.texts:
            made = text.render(rendering) if text is not None else _text_from(self._unmarked(content.html), rendering)
            content.text = collapse_blank_lines(made) if "html" in self.texts else made
        if not marked:
            content.html = self._unmarked(content.html)
        if content.preheader and content.html:
            content.html = _with_preheader(content.html, content.preheader)
        if self.channel == "event":
            content.properties = render_tree(self.properties, rendering)
        return content


class CompiledTemplate:
    """A compiled version of a template."""

    __slots__ = ("_bodies", "channel", "size", "sources", "template_id", "version")

    def __init__(
        self,
        channel: str,
        variants: list[Variant],
        template_id: int = 0,
        version: int = 0,
        marks: LinkMarks | None = None,
    ) -> None:
        self.channel = channel
        self.template_id = template_id
        self.version = version
        single = len(variants) == 1
        self._bodies = {
            v.name: CompiledVariant(channel, v.content, None if single else v.name, marks) for v in variants
        }
        #: What it was compiled from.
        self.sources = variants
        self.size = sum(body.size for body in self._bodies.values())

    @property
    def variants(self) -> list[str]:
        """The names of the variants."""
        return list(self._bodies)

    def mentions(self, *names: str) -> bool:
        """Return whether each variant uses one of these values, in a field that people read."""
        return all(body.mentions(names) for body in self._bodies.values())

    def pick(self, choice: float | str) -> str:
        """Return the name of the variant for a number in [0, 1) or for a key. A key always gives the same variant."""
        if len(self.sources) == 1:
            return self.sources[0].name
        at = (_share(self.template_id, choice) if isinstance(choice, str) else choice) * sum(
            one.weight for one in self.sources
        )
        chosen = ""
        for one in self.sources:
            if one.weight > 0:
                chosen = one.name
                at -= one.weight
                if at < 0:
                    break
        return chosen

    def render(
        self,
        context: Mapping[str, Any],
        *,
        choice: float | str = "",
        variant: str | None = None,
        now: int | None = None,
        strict: bool = False,
        marked: bool = False,
    ) -> Content:
        """Return the content for one person, of the named variant or of the one that `choice` picks.

        With `marked`, the links in the HTML are marked if the template was compiled with marks.

        Undefined variables are empty. `now`, in microseconds since 1970, is the value of `'now' | date`. Raise Invalid
        with the code `unknown_variant`, `template_limit`, `cannot_render` or, with `strict`, `undefined_variables`.
        """
        rendering = Rendering(context, now, marking=strict)
        content = self._body(variant or self.pick(choice)).render(rendering, marked=marked)
        if rendering.gaps:
            raise undefined_variables(rendering.gaps)
        return content

    def preview(
        self,
        context: Mapping[str, Any],
        *,
        choice: float | str = "",
        variant: str | None = None,
        now: int | None = None,
    ) -> Rendered:
        """Return a preview, with undefined variables marked and listed, and the measure of a text message."""
        name = variant or self.pick(choice)
        rendering, body = Rendering(context, now, marking=True), self._body(name)
        content, sms = body.render(rendering), None
        if self.channel == "sms":
            # The marks are not sent and would change the encoding, so the text without them is measured.
            sms = measure(body.render(Rendering(context, now)).text if rendering.gaps else content.text)
        return Rendered(variant=name, content=content, undefined=rendering.gaps or [], sms=sms)

    def _body(self, name: str) -> CompiledVariant:
        body = self._bodies.get(name)
        if body is None:
            raise Invalid(
                f"The template has no variant {name[:LONGEST_NAME]!r}; it has {', '.join(self._bodies)}.",
                code="unknown_variant",
            )
        return body


def has_unsubscribe_link(template: CompiledTemplate) -> bool:
    """Return whether everybody who gets the template can unsubscribe by a link in it."""
    return template.mentions("unsubscribe_url", "preferences_url")


def undefined_variables(gaps: list[UndefinedVariable]) -> Invalid:
    """Return the error for undefined variables in the output of a template."""
    names = ", ".join(dict.fromkeys(gap.name for gap in gaps))
    return Invalid(
        f"Not defined: {names[:500]}. Give them, or write | default: 'something' in the template.",
        code="undefined_variables",
        undefined=gaps,
    )


def check_template(channel: str, variants: list[Variant]) -> CompiledTemplate:
    """Check and compile a template; its MJML is compiled to HTML in place.

    Raise Invalid (code `invalid_template`, with `field`, and `variant`, `line` and `column` if known) for the first
    error.
    """
    if channel not in CHANNELS:
        raise _wrong(f"There is no channel {channel[:40]!r}; there are {', '.join(CHANNELS)}.", "channel")
    if not 0 < len(variants) <= MOST_VARIANTS:
        raise _wrong(f"A template must have 1 to {MOST_VARIANTS} variants.", "variants")
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        raise _wrong("The names of the variants must be different.", "variants")
    for variant in variants:
        if not 0 < len(variant.name.strip()) <= LONGEST_NAME or "\0" in variant.name:
            raise _wrong(f"The name of a variant must have 1 to {LONGEST_NAME} characters.", "variants")
        if not (math.isfinite(variant.weight) and 0 <= variant.weight <= 1_000_000):
            raise _wrong("The weight of a variant must be a number from 0 to 1000000.", "weight", variant.name)
        check_source(channel, variant.content, variant.name if len(variants) > 1 else None)
    if not any(variant.weight for variant in variants):
        raise _wrong("At least one variant needs a weight above 0.", "weight")
    return CompiledTemplate(channel, variants)


def check_source(channel: str, source: TemplateSource, variant: str | None = None) -> None:
    """Raise Invalid, with `field`, if the source has a field of another channel or lacks one that the channel needs."""
    for field in source.__struct_fields__:
        if getattr(source, field) and field != "made_html" and field not in FIELDS[channel]:
            raise _wrong(
                f"A template for {channel} has no {field}; it has {', '.join(FIELDS[channel])}.", field, variant
            )
    if channel == "sms" and not source.text.strip() and not source.media_urls:
        raise _wrong("A text message needs a text.", "text", variant)
    if channel == "email":
        if not source.subject.strip():
            raise _wrong("A mail needs a subject.", "subject", variant)
        if source.html and source.mjml:
            raise _wrong("A mail may have html or mjml, not both.", "mjml", variant)
        if not (source.html or source.mjml or source.text):
            raise _wrong("A mail needs html, mjml or text.", "html", variant)
    if channel == "event" and not source.metric.strip():
        raise _wrong("An event needs a metric.", "metric", variant)
    if len(source.media_urls) > MOST_MEDIA:
        raise _wrong(f"A message may have at most {MOST_MEDIA} media_urls.", "media_urls", variant)
    if len(source.headers) > MOST_HEADERS:
        raise _wrong(f"A mail may have at most {MOST_HEADERS} custom headers.", "headers", variant)
    for name in source.headers:
        if not _HEADER_NAME.match(name):
            raise _wrong(f"{name[:60]!r} is not the name of a header.", "headers", variant)


def context_of(
    person: Mapping[str, Any],
    event: Mapping[str, Any],
    organization: Mapping[str, Any],
    variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the values that a template sees. Raise Invalid (code `invalid_variables`) for a reserved variable name."""
    for name in RESERVED:
        if variables and name in variables:
            raise Invalid(
                f"A variable cannot be named {name!r}; every template has a value of this name. Rename it.",
                code="invalid_variables",
            )
    return {**(variables or {}), "person": dict(person), "event": dict(event), "organization": dict(organization)}


def person_values(public_id: str | None, traits: Mapping[str, Any], identifiers: Mapping[str, str]) -> dict[str, Any]:
    """Return the value of `person`: the traits, the latest identifiers, and the aliases of both."""
    known: dict[str, Any] = {**traits, **identifiers}
    if public_id is not None:
        known["id"] = public_id
    for name, others in ALIASES.items():
        if name not in known:
            found = next((known[other] for other in others if other in known), None)
            if found is not None:
                known[name] = found
    return known


def event_values(public_id: str, occurred_at: str, contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of `event`: its properties, and its id, metric and time unless a property has that name."""
    properties = contents.get("properties")
    known = {"id": public_id, "metric": contents.get("metric"), "time": occurred_at}
    return {**known, **(properties if isinstance(properties, dict) else {})}


def _share(template_id: int, key: str) -> float:
    digest = hashlib.sha256(f"{template_id}:{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def _place(field: str, variant: str | None) -> dict[str, str]:
    return {"field": field} if variant is None else {"variant": variant, "field": field}


def _wrong(detail: str, field: str, variant: str | None = None) -> Invalid:
    return Invalid(detail, code="invalid_template", **_place(field, variant))


def _html_of(mjml: str, variant: str | None) -> str:
    try:
        return compile_mjml(mjml)
    except TemplateError as fault:
        line, column = place(mjml, fault.index)
        extra: dict[str, Any] = {**_place("mjml", variant), "line": line, "column": column}
        raise Invalid(
            f"mjml, line {line}, column {column}: {fault.message}.", code="invalid_template", **extra
        ) from fault


def _text_program(html: str, made: Callable[..., Program]) -> Program | None:
    """Return a program for the text of a mail, or None if the text is derived from each rendered HTML."""
    template = text_template(html)
    if template is None:
        return None
    try:
        return made("text", template)
    except Error:
        return None


def _text_from(html: str, rendering: Rendering) -> str:
    """Return the text of a rendered mail; its cost counts against the budget."""
    try:
        rendering.budget.spend(len(html) // HTML_PER_STEP)
    except ResourceLimitError as error:
        detail = "The HTML is too long to derive the text for each person; add a `text` to the template."
        raise Invalid(detail, code="template_limit", field="text") from error
    return text_of(html)


def complete(content: Content) -> Content:
    """Add the text and the preheader to a mail that has no template, in place; return it."""
    if content.html:
        content.text = content.text or _text_of(content.html)
        if content.preheader:
            content.html = _with_preheader(content.html, content.preheader)
    return content


#: Cached, because the same mail goes to many people.
_text_of = lru_cache(maxsize=64)(text_of)


def _one_line(text: str) -> str:
    """Return the text on one line, for a header or a URL."""
    return _LINE_ENDS.sub(" ", text).strip()


def _with_preheader(html: str, preheader: str) -> str:
    """Return the HTML with the preheader hidden at its start; mail programs show it beside the subject."""
    hidden = _PREHEADER.format(html_escapes.escape(preheader))
    found = _BODY.search(html)
    at = found.end() if found else 0
    return html[:at] + hidden + html[at:]
