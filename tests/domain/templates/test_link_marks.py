"""Templates whose links are marked when they are compiled give the same mails as ones whose HTML is parsed for each."""

from typing import Any

import pytest

from waypost.domain.messaging.message import Content
from waypost.domain.templates.link_marks import make_marks
from waypost.domain.templates.template import CompiledTemplate, TemplateSource, Variant, has_unsubscribe_link
from waypost.domain.tracking.mail_links import track_html

MARKS = make_marks("5ec7e7")
CONTEXT: dict[str, Any] = {
    "url": "https://a.example/?a=1&b=2",
    "id": 7,
    "yes": True,
    "no": False,
    "items": [{"url": "https://i.example/1"}, {"url": "https://i.example/2"}],
    "evil": f'{MARKS.start}https://evil.example{MARKS.end}" onload="x',
}


def render(html: str, *, marks: Any = MARKS, marked: bool = True, **fields: Any) -> Content:
    source = TemplateSource(subject="s", html=html, **fields)
    return CompiledTemplate("email", [Variant(content=source)], marks=marks).render(CONTEXT, marked=marked)


@pytest.mark.parametrize(
    "html",
    [
        '<a href="{{ url }}">x</a>',
        "<a href={{ url }}>x</a>",
        "<a href='https://a.example/{{ id }}/b'>x</a>{{ url }}",
        '<a href="{% if yes %}https://y.example{% else %}https://n.example{% endif %}">x</a>',
        '{% for item in items %}<a href="{{ item.url }}">x</a>{% endfor %}<p></body>',
        "{% if no %}<a href='https://n.example'>{% endif %}<a href=https://b.example>",
        '<a {% if yes %}href="https://y.example"{% endif %}>x</a>',
        '<a href="  {{- url -}}  ">x</a>',
        "{# a comment <a href=x> #}<a href='https://c.example'>{% comment %}<a href='y'>{% endcomment %}",
        '{% raw %}<a href="https://r.example/{{ x }}">{% endraw %}',
        '<style>a{color:{{ id }}}</style><!--[if mso]><v:rect href="{{ url }}"><![endif]--></body>{{ id }}',
        "{{ id }}",
        "<p>{% if yes %}</body>{% endif %}",
    ],
)
def test_marked_templates_give_what_parsing_gives(html: str):
    def replace(value: str) -> str:
        return f"[{value.strip()}]"

    plain = render(html, marks=None).html
    assert render(html, marked=False).html == plain
    assert track_html(render(html).html, MARKS, replace, "{pixel}") == track_html(plain, MARKS, replace, "{pixel}")


def test_a_link_that_ends_in_another_branch_is_left_alone_and_no_mark_is_left():
    for flag in ("yes", "no"):
        html = f'<a href="{{% if {flag} %}}https://y.example">y{{% else %}}https://n.example">n{{% endif %}}</a>'
        tracked = track_html(render(html).html, MARKS, lambda value: "tracked", "")
        assert "5ec7e7" not in tracked
        assert track_html(render(html, marks=None).html, MARKS, None, "") in (
            tracked,
            tracked.replace("tracked", "https://y.example"),
        )


def test_html_of_values_is_parsed_for_each_mail():
    html = "<p>{{ block | safe }}</p><a href='https://a.example'>"
    source = TemplateSource(subject="s", html=html)
    content = CompiledTemplate("email", [Variant(content=source)], marks=MARKS).render(
        {"block": "<a href='https://b.example'>b</a>"}, marked=True
    )
    tracked = track_html(content.html, MARKS, lambda value: "T", "")
    assert tracked == "<p><a href='T'>b</a></p><a href='T'>"


def test_the_text_and_errors_do_not_see_the_marks():
    content = render('<p>Hi</p><a href="https://a.example/{{ id }}">Go</a>')
    assert content.text == "Hi\n\nGo (https://a.example/7)"
    assert MARKS.start in content.html
    compiled = CompiledTemplate(
        "email",
        [Variant(content=TemplateSource(subject="s", html="<a href='x'>y</a>\n{{ nobody }}"))],
        marks=MARKS,
    )
    gap = compiled.preview({}).undefined[0]
    assert (gap.line, gap.column) == (2, 4)


@pytest.mark.parametrize(
    ("variants", "has"),
    [
        ([{"html": "<a href='{{ unsubscribe_url }}'>"}], True),
        ([{"text": "{{ preferences_url }}"}], True),
        ([{"html": "<a href='{{ unsubscribe_url }}'>"}, {"text": "no"}], False),
        ([{"html": "<p>unsubscribe</p>", "headers": {"X": "{{ unsubscribe_url }}"}}], False),
    ],
)
def test_a_template_has_an_unsubscribe_link_if_each_variant_has(variants: list[dict[str, Any]], has: bool):
    made = [
        Variant(name=str(number), content=TemplateSource(subject="s", **fields))
        for number, fields in enumerate(variants)
    ]
    assert has_unsubscribe_link(CompiledTemplate("email", made, marks=MARKS)) is has
