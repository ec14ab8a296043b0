"""Tokenize the source of a template, and refuse what Liquid would silently drop or misread.

The tokens are those of python-liquid, whose own lexer takes quadratic time for some sources.
"""

import re
from difflib import get_close_matches

from liquid.token import TOKEN_CONTENT, TOKEN_EXPRESSION, TOKEN_OUTPUT, TOKEN_TAG, Token

#: The most characters of a tag or an output.
LONGEST_EXPRESSION = 2_000
#: The most tags and outputs of one source.
MOST_PIECES = 5_000
#: The most levels of nested blocks.
DEEPEST_BLOCKS = 20

_OPEN = re.compile(r"\{\{|\{%|\{#")
_TAG = re.compile(r"(#|\w+)\s*")
_COMMENT = re.compile(r"\{%-?\s*(comment|endcomment)\b")
_END_RAW = re.compile(r"\{%(-?)\s*endraw\s*(-?)%\}")

#: By block: the tags that may divide it.
BLOCKS: dict[str, frozenset[str]] = {
    "if": frozenset({"elsif", "else"}),
    "unless": frozenset({"elsif", "else"}),
    "case": frozenset({"when", "else"}),
    "for": frozenset({"else"}),
    "capture": frozenset(),
    "ifchanged": frozenset(),
    "with": frozenset(),
}
#: Tags without an end tag.
SINGLE = frozenset({"assign", "break", "continue", "cycle", "decrement", "echo", "increment"})
_DIVIDERS = frozenset({"elsif", "else", "when"})
_BARE = frozenset({"else", "break", "continue", "ifchanged"})

_SEE_VARIABLES = "give it as a variable of the message or a property of the event"
_UNSUBSCRIBE = "a link to unsubscribe is an address; write {{ unsubscribe_url }}"
_PREFERENCES = "a link to preferences is an address; write {{ preferences_url }}"
_NO_FILES = "templates do not read other templates; put the text here"
#: Tags of Django, Klaviyo and other Liquids that are refused, and what to write instead.
REFUSED = {
    "elif": "write {% elsif … %}",
    "elseif": "write {% elsif … %}",
    "empty": "write {% else %} within {% for %}",
    "today": "write {{ 'now' | date: 'F j, Y' }}",
    "now": "write {{ 'now' | date: 'F j, Y' }}",
    "current_day": "write {{ 'now' | date: 'j' }}",
    "current_month": "write {{ 'now' | date: 'n' }}",
    "current_year": "write {{ 'now' | date: 'Y' }}",
    "current_weekday": "write {{ 'now' | date: 'l' }}",
    "unsubscribe": _UNSUBSCRIBE,
    "unsubscribe_link": _UNSUBSCRIBE,
    "manage_preferences": _PREFERENCES,
    "manage_preferences_link": _PREFERENCES,
    "catalog": f"templates do not look things up in catalogs; {_SEE_VARIABLES}",
    "catalog_item": f"templates do not look things up in catalogs; {_SEE_VARIABLES}",
    "coupon": f"templates do not hand out coupons; {_SEE_VARIABLES}",
    "coupon_code": f"templates do not hand out coupons; {_SEE_VARIABLES}",
    "web_feed": f"templates do not fetch anything; {_SEE_VARIABLES}",
    "feed": f"templates do not fetch anything; {_SEE_VARIABLES}",
    "product_feed": f"templates do not fetch anything; {_SEE_VARIABLES}",
    "connected_content": f"templates do not fetch anything; {_SEE_VARIABLES}",
    "web_view": f"messages are not kept as pages; {_SEE_VARIABLES}",
    "web_view_link": f"messages are not kept as pages; {_SEE_VARIABLES}",
    "include": _NO_FILES,
    "render": _NO_FILES,
    "extends": _NO_FILES,
    "block": _NO_FILES,
    "layout": _NO_FILES,
    "ssi": _NO_FILES,
    "load": "all filters are there without it; leave it out",
    "autoescape": "HTML is escaped always, other text never; write | safe where a value is HTML",
    "filter": "write {% capture x %}…{% endcapture %}{{ x | … }}",
    "verbatim": "write {% raw %}…{% endraw %}",
    "spaceless": "write {%- and -%} where white space is to go",
    "widthratio": "write {{ x | times: … | divided_by: … }}",
    "regroup": "write {% assign x = list | where: 'key', value %}",
    "firstof": "write {{ a | default: b }}",
    "ifequal": "write {% if a == b %}",
    "ifnotequal": "write {% if a != b %}",
    "trans": "make a variant for each language",
    "translate": "make a variant for each language",
    "blocktrans": "make a variant for each language",
    "blocktranslate": "make a variant for each language",
    "resetcycle": "give the cycle another name: {% cycle 'name': 'a', 'b' %}",
    "url": f"write the address; or {_SEE_VARIABLES}",
    "static": f"write the address; or {_SEE_VARIABLES}",
    "csrf_token": "there are no forms here; leave it out",
    "lorem": "write the text",
    "templatetag": "write {% raw %}…{% endraw %}",
    "debug": "preview the template; it lists what is not defined",
    "liquid": "write each tag in {% … %} of its own",
    "tablerow": "write {% for %} with <tr> and <td>",
    "doc": "write {% comment %}…{% endcomment %}",
    "macro": "write {% capture %}",
    "call": "write {% capture %}",
    "snippet": "write {% capture %}",
}


class TemplateError(Exception):
    """An error in the source of a template, with the index of its character."""

    def __init__(self, message: str, index: int) -> None:
        self.message = message
        self.index = index
        super().__init__(message)


def tokenize_source(source: str) -> list[Token]:
    """Return the tokens of a template without comments. Raise TemplateError if it is not valid."""
    tokens = _Lexer(source).run()
    _check_blocks(tokens)
    return tokens


class _Lexer:
    """Scans a source once, from marker to marker."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens: list[Token] = []
        self._strip = False
        #: The next end of a `{# comment #}`, cached so that it is not searched at every `{#`.
        self._comment_end = -2

    def run(self) -> list[Token]:
        """Return all tokens."""
        position = start = pieces = 0
        while (found := _OPEN.search(self.source, position)) is not None:
            at = found.start()
            if found[0] == "{#":
                end = self._hash_comment(at)
                if end is None:
                    position = at + 2
                    continue
                self._content(start, at, False)
                position = start = end
                continue
            self._content(start, at, self.source.startswith("-", at + 2))
            pieces += 1
            if pieces > MOST_PIECES:
                raise TemplateError(f"there are more than {MOST_PIECES} tags and outputs", at)
            position = start = self._output(at) if found[0] == "{{" else self._tag(at)
        self._content(start, len(self.source), False)
        return self.tokens

    def _content(self, start: int, end: int, strip: bool) -> None:
        text = self.source[start:end]
        if self._strip:
            text = text.lstrip()
            start = end - len(text)
        if strip:
            text = text.rstrip()
        self._strip = False
        if text:
            self.tokens.append(Token(TOKEN_CONTENT, text, start, self.source))

    def _hash_comment(self, at: int) -> int | None:
        """Return the end of a `{# comment #}` on the same line, or None if it is not a comment, as in a style sheet."""
        if self._comment_end != -1 and self._comment_end < at + 2:
            self._comment_end = self.source.find("#}", at + 2)
        end = self._comment_end
        return None if end == -1 or self.source.find("\n", at, end) != -1 else end + 2

    def _inside(self, at: int, close: str) -> tuple[int, int, int]:
        """Return the start and end of the text between the markers, and the end of the closing marker."""
        end = self.source.find(close, at + 2)
        mark = self.source[at : at + 2]
        if end == -1:
            raise TemplateError(f"{mark} is never closed by {close}", at)
        if end - at > LONGEST_EXPRESSION:
            raise TemplateError(f"there are more than {LONGEST_EXPRESSION} characters between {mark} and {close}", at)
        first, last = at + 2, end
        if self.source.startswith("-", first) and first < last:
            first += 1
        if last > first and self.source[last - 1] == "-":
            last -= 1
            self._strip = True
        while first < last and self.source[first].isspace():
            first += 1
        while first < last and self.source[last - 1].isspace():
            last -= 1
        return first, last, end + 2

    def _output(self, at: int) -> int:
        first, last, end = self._inside(at, "}}")
        if first == last:
            raise TemplateError("there is nothing between {{ and }}", at)
        self.tokens.append(Token(TOKEN_OUTPUT, self.source[at:end], at, self.source))
        self.tokens.append(Token(TOKEN_EXPRESSION, self.source[first:last], first, self.source))
        return end

    def _tag(self, at: int) -> int:
        first, last, end = self._inside(at, "%}")
        found = _TAG.match(self.source, first, last)
        if found is None:
            raise TemplateError("a tag must begin with its name, as in {% if … %}", at)
        name = found[1]
        if name == "#":
            return end
        if name == "comment":
            return self._comment(at, end)
        if name == "raw":
            return self._raw(at, end)
        self.tokens.append(Token(TOKEN_TAG, name, first, self.source))
        if found.end() < last:
            self.tokens.append(Token(TOKEN_EXPRESSION, self.source[found.end() : last], found.end(), self.source))
        return end

    def _comment(self, at: int, position: int) -> int:
        depth = 1
        while depth:
            found = _COMMENT.search(self.source, position)
            end = -1 if found is None else self.source.find("%}", found.end())
            if found is None or end == -1:
                raise TemplateError("{% comment %} is never closed by {% endcomment %}", at)
            depth += 1 if found[1] == "comment" else -1
            position = end + 2
            self._strip = self.source[end - 1] == "-"
        return position

    def _raw(self, at: int, start: int) -> int:
        found = _END_RAW.search(self.source, start)
        if found is None:
            raise TemplateError("{% raw %} is never closed by {% endraw %}", at)
        self._content(start, found.start(), bool(found[1]))
        self._strip = bool(found[2])
        return found.end()


def _check_blocks(tokens: list[Token]) -> None:
    """Raise TemplateError for unknown tags, unclosed blocks, and arguments of tags that take none."""
    open_: list[tuple[str, int, str]] = []
    for position, token in enumerate(tokens):
        if token.kind != TOKEN_TAG:
            if token.kind == TOKEN_CONTENT or token.kind == TOKEN_OUTPUT:
                _check_between(open_, token)
            continue
        name, at = token.value, token.start_index
        following = tokens[position + 1] if position + 1 < len(tokens) else None
        words = following if following is not None and following.kind == TOKEN_EXPRESSION else None
        if words is not None and (name in _BARE or name.startswith("end")):
            more = "; write {% elsif … %}" if name == "else" else ""
            raise TemplateError(f"{{% {name} %}} takes no arguments{more}", words.start_index)
        if name in BLOCKS:
            open_.append((name, at, ""))
            if len(open_) > DEEPEST_BLOCKS:
                raise TemplateError(f"there are more than {DEEPEST_BLOCKS} levels of nested blocks", at)
        elif name in _DIVIDERS:
            _divide(open_, name, at)
        elif name.startswith("end") and name[3:] in BLOCKS:
            if not open_ or open_[-1][0] != name[3:]:
                inside = f"; {{% {open_[-1][0]} %}} is still open" if open_ else ""
                raise TemplateError(f"{{% {name} %}} closes nothing{inside}", at)
            open_.pop()
        elif name in ("break", "continue"):
            if not any(block == "for" and part != "else" for block, _, part in open_):
                raise TemplateError(f"{{% {name} %}} is not inside a {{% for %}}", at)
        elif name not in SINGLE:
            raise TemplateError(_unknown(name), at)
    if open_:
        name, at, _ = open_[-1]
        raise TemplateError(f"{{% {name} %}} is never closed by {{% end{name} %}}", at)


def _check_between(open_: list[tuple[str, int, str]], token: Token) -> None:
    """Raise TemplateError for content between a case and its first when, which is never output."""
    if open_ and open_[-1][0] == "case" and not open_[-1][2]:
        text = token.value.lstrip()
        if token.kind == TOKEN_OUTPUT or text:
            at = token.start_index + len(token.value) - len(text)
            raise TemplateError("nothing may stand between {% case %} and its first {% when %}", at)


def _divide(open_: list[tuple[str, int, str]], name: str, at: int) -> None:
    if not open_ or name not in BLOCKS[open_[-1][0]]:
        places = " or ".join(f"{{% {block} %}}" for block, dividers in BLOCKS.items() if name in dividers)
        raise TemplateError(f"{{% {name} %}} must be directly inside {places}", at)
    block, start, before = open_[-1]
    if before == "else":
        raise TemplateError(f"{{% {name} %}} comes after {{% else %}}, which is the last part of a {{% {block} %}}", at)
    if block == "case" and name == "else" and not before:
        raise TemplateError("{% case %} needs a {% when … %} before its {% else %}", at)
    open_[-1] = (block, start, name)


def _unknown(name: str) -> str:
    stem = name.removeprefix("end")
    if (hint := REFUSED.get(name) or REFUSED.get(stem)) is not None:
        return f"{{% {name} %}} is not supported: {hint}"
    if name in ("endcomment", "endraw"):
        return f"{{% {name} %}} closes nothing"
    known = [*BLOCKS, *(f"end{block}" for block in BLOCKS), *_DIVIDERS, *SINGLE, "comment", "raw"]
    close = get_close_matches(name, known, 1)
    return f"there is no tag {name[:40]!r}" + (f"; is {close[0]!r} meant?" if close else "")
