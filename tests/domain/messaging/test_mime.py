"""Emails, parsed by the standard library."""

import email.policy
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.domain.messaging.message import Content
from waypost.domain.messaging.mime import (
    build_mail,
    check_address,
    check_mail_headers,
    parse_sender,
    unsubscribe_headers,
)
from waypost.errors import Invalid

NOW = 1_790_000_000_123_456
ID = "msg_0123456789abcdef@example.com"
HTML = "<!doctype html><p>Grüße, Jörg &amp; alle = gut</p>\n"

# Texts of users: any letter of any script, but no control characters and no lone surrogates.
line = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=300)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=2000)


def build(content: Content, to: str = "ann@example.org", **changes: object) -> bytes:
    """Build an email."""
    given = {"sender": "Shop <shop@example.com>", "message_id": ID, "now": NOW} | changes
    return build_mail(content, to=to, **given)  # type: ignore[arg-type]


def read(mail: bytes) -> EmailMessage:
    """Parse an email; fail if it has any defect."""
    found = BytesParser(policy=email.policy.default).parsebytes(mail)
    assert isinstance(found, EmailMessage)
    for part in found.walk():
        assert not part.defects
    for name, value in found.items():
        assert not value.defects, (name, value.defects)
    return found


def check_lines(mail: bytes) -> None:
    """Check that only CRLF ends lines, and that no line is too long."""
    assert mail.endswith(b"\r\n")
    for one in mail.split(b"\r\n"):
        assert len(one) <= 998
        assert b"\r" not in one
        assert b"\n" not in one


def unified(value: str) -> str:
    """Return a text as an email has it: with equal line ends, also after the last line."""
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return value if value.endswith("\n") else value + "\n"


def content_of(part: MIMEPart) -> str:
    """Return the text of a part."""
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode(part.get_content_charset() or "").replace("\r\n", "\n")


def author_of(mail: bytes) -> str:
    """Return the name in `From`. The parser puts spaces between encoded words of a name, against RFC 2047, 6.2."""
    written = message_from_bytes(mail)["From"].rpartition("<")[0].strip()
    if written.startswith("=?"):
        return str(make_header(decode_header(written)))
    return str(read(mail)["From"].addresses[0].display_name)


def recipient(mail: bytes) -> str:
    """Return the address in `To`; the parser leaves non-ASCII bytes unchanged."""
    found = BytesParser(policy=email.policy.SMTPUTF8).parsebytes(mail)
    return str(found["To"].addresses[0].addr_spec).encode(errors="surrogateescape").decode()


def test_a_mail_as_a_whole():
    content = Content(subject="Hello", text="one\n.two", html=HTML, headers={"X-Campaign": "7"})
    assert build(content, reply_to="help@example.com", headers=unsubscribe_headers("https://example.com/u/1")) == (
        b"From: Shop <shop@example.com>\r\n"
        b"To: ann@example.org\r\n"
        b"Reply-To: help@example.com\r\n"
        b"Subject: Hello\r\n"
        b"Date: Mon, 21 Sep 2026 14:13:20 +0000\r\n"
        b"Message-ID: <msg_0123456789abcdef@example.com>\r\n"
        b"X-Campaign: 7\r\n"
        b"List-Unsubscribe: <https://example.com/u/1>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: multipart/alternative;\r\n boundary="=_msg_0123456789abcdef"\r\n'
        b"\r\n"
        b"--=_msg_0123456789abcdef\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"one\r\n.two\r\n"
        b"\r\n"
        b"--=_msg_0123456789abcdef\r\n"
        b"Content-Type: text/html; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n"
        b"\r\n"
        b"<!doctype html><p>Gr=C3=BC=C3=9Fe, J=C3=B6rg &amp; alle =3D gut</p>\r\n"
        b"\r\n"
        b"--=_msg_0123456789abcdef--\r\n"
    )


@given(subject=line, plain=text, html=text, sender=line.map(str.strip), extra=line)
@example(
    subject="=?utf-8?q?no?=", plain="=_msg_0123456789abcdef", html="--=_msg_0123456789abcdef--", sender="=?", extra=""
)
@example(subject="a" * 950, plain="x" * 998, html="x" * 999, sender='"', extra="b" * 1000 + " c")
@example(subject=" two  spaces\tand a tab ", plain=".\n..\n", html="\r\r\n\n", sender="a, b", extra="x " * 150)
@example(subject="ü" * 300, plain="\x00\x1b", html=" \n\t\n", sender="ü" * 200, extra="")
def test_everything_comes_back(subject, plain, html, sender, extra):
    subject, sender = subject[:1000], sender[:200]
    given = f'"{"".join(chr(92) + sign if sign in chr(92) + chr(34) else sign for sign in sender)}" <shop@example.com>'
    mail = build(Content(subject=subject, text=plain, html=html, sender=given, headers={"X-Extra": extra}))
    check_lines(mail)
    assert mail.isascii()
    found = read(mail)
    assert found["Subject"] == subject.strip(" \t")
    assert found["X-Extra"] == extra.strip(" \t")
    (author,) = found["From"].addresses
    assert (author_of(mail), author.addr_spec) == (sender.strip(), "shop@example.com")
    assert found["To"].addresses[0].addr_spec == "ann@example.org"
    assert found["Date"].datetime == datetime.fromtimestamp(NOW // 1_000_000, UTC)
    assert found["Message-ID"] == f"<{ID}>"
    assert len(found.keys()) == len(set(found.keys()))
    parts = list(found.iter_parts()) if found.is_multipart() else [found]
    wanted = [("plain", plain)] if plain or not html else []
    wanted += [("html", html)] if html else []
    assert [part.get_content_type() for part in parts] == [f"text/{subtype}" for subtype, _ in wanted]
    for part, (_, value) in zip(parts, wanted, strict=True):
        assert content_of(part) == unified(value)


@given(text, text)
def test_the_same_mail_twice_is_the_same(plain, html):
    content = Content(subject="Hello", text=plain, html=html)
    assert build(content) == build(content)


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        ("plain", "7bit"),
        ("x" * 990, "7bit"),
        ("x" * 1000, "quoted-printable"),
        ("mostly plain, but grün", "quoted-printable"),
        ("здравствуйте", "base64"),
        ("= = = = = = = =", "7bit"),
        ("\x00", "quoted-printable"),
    ],
)
def test_the_shortest_encoding_is_taken(value, encoding):
    assert read(build(Content(text=value)))["Content-Transfer-Encoding"] == encoding


SIGNS = "\r\n", "\n", "\r", "\n Bcc: x@example.net", "\r\nBcc: x@example.net", "\x00", "\x85", "\u2028", "\x0b", "\x7f"


@pytest.mark.parametrize("sign", SIGNS)
def test_no_header_becomes_two(sign):
    value = f"a{sign}b"
    cases = [
        Content(subject=value),
        Content(sender=f"{value} <a@example.com>"),
        Content(sender=f"a{sign}@example.com"),
        Content(reply_to=f"{value} <a@example.com>"),
        Content(headers={"X-A": value}),
        Content(headers={value: "a"}),
    ]
    for content in cases:
        with pytest.raises(Invalid) as refused:
            build(content)
        assert refused.value.code in ("invalid_header", "invalid_address")
    with pytest.raises(Invalid):
        build(Content(), to=f"a{sign}@example.com")
    with pytest.raises(Invalid):
        build(Content(), message_id=f"a{sign}@example.com")
    with pytest.raises(Invalid):
        unsubscribe_headers(f"https://example.com/{sign}")


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_given_nothing_is_added(subject, sender, to, value):
    try:
        mail = build(Content(subject=subject, sender=sender, headers={"X-A": value}, text="hi"), to=to)
    except Invalid:
        return
    found = BytesParser(policy=email.policy.SMTPUTF8).parsebytes(mail)
    assert [name.lower() for name in found] == [
        *("from", "to", "subject", "date", "message-id", "x-a"),
        *("mime-version", "content-type", "content-transfer-encoding"),
    ]
    check_lines(mail)


@pytest.mark.parametrize(
    "name", ["From", "bcc", "Content-Type", "MIME-Version", "content-foo", "a b", "a:b", "", "ü", "x" * 71]
)
def test_some_headers_are_not_for_everybody(name):
    with pytest.raises(Invalid) as refused:
        check_mail_headers({name: "x"})
    assert refused.value.code == "invalid_header"


def test_headers_have_limits():
    assert check_mail_headers({"List-Id": "news"}) == {"List-Id": "news"}
    with pytest.raises(Invalid):
        check_mail_headers({"X": "x" * 2001})
    with pytest.raises(Invalid):
        check_mail_headers({f"X-{number}": "x" for number in range(51)})


def test_the_contents_own_headers_win():
    mail = build(
        Content(headers={"list-unsubscribe": "<mailto:u@example.com>"}), headers=unsubscribe_headers("https://x/")
    )
    assert mail.lower().count(b"list-unsubscribe:") == 1
    assert b"mailto:u@example.com" in mail


ADDRESSES = [
    ("ann@example.org", "ann@example.org"),
    (" Ann.Lee+tag@EXAMPLE.org ", "Ann.Lee+tag@example.org"),
    ("a'b@x-y.example", "a'b@x-y.example"),
    ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
    ("jo\u0308rg@example.org", "jörg@example.org"),
    ("a@localhost", "a@localhost"),
    ("a@例え.example", "a@xn--r8jz45g.example"),
    ("a" * 64 + "@example.org", "a" * 64 + "@example.org"),
]


@pytest.mark.parametrize(("given", "normal"), ADDRESSES)
def test_addresses_in_their_normal_form(given, normal):
    assert check_address(given) == normal
    assert check_address(normal) == normal


@pytest.mark.parametrize(
    "address",
    [
        *(
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a..b@c",
            ".a@c",
            "a.@c",
            "a@.c",
            "a@c.",
            "a@c..d",
            "a@-c",
            "a@c-",
        ),
        *('"a b"@c.example', "a@[192.0.2.1]", "a@192.0.2.1", "a@c_d.example", "a<b@c", "a>b@c", "a,b@c", "a;b@c"),
        *(
            "a@c-",
            "a:b@c",
            "a\\b@c",
            "a(b)@c",
            "a\n@c",
            "a@c\nd",
            "a\u200bb@c",
            "a\u202eb@c",
            "a\ud800b@c",
            "a\u2028b@c",
        ),
        *("a@straße.example", "a@b\u200dc.example", "a" * 65 + "@c", "a@" + "b" * 64 + ".example", "ü" * 33 + "@c"),
        "a@" + ".".join(["b" * 60] * 5),
    ],
)
def test_what_is_no_address(address):
    with pytest.raises(Invalid) as refused:
        check_address(address)
    assert refused.value.code == "invalid_address"


@given(st.text(max_size=80))
def test_an_address_that_is_one_stays_one(value):
    try:
        normal = check_address(value)
    except Invalid:
        return
    assert check_address(normal) == normal
    assert not set(normal) & set('<>()[]\\,;: \r\n\t"')
    assert recipient(build(Content(), to=value)) == normal


@pytest.mark.parametrize(
    ("given", "name", "address"),
    [
        ("a@example.com", "", "a@example.com"),
        ("<a@example.com>", "", "a@example.com"),
        ("Ann Lee <a@EXAMPLE.com>", "Ann Lee", "a@example.com"),
        ('"Lee, Ann" <a@example.com>', "Lee, Ann", "a@example.com"),
        (r'"a \"b\" \\c" <a@example.com>', r'a "b" \c', "a@example.com"),
        ("Jörg (Shop) <a@example.com>", "Jörg (Shop)", "a@example.com"),
    ],
)
def test_senders(given, name, address):
    assert parse_sender(given) == (name, address)
    (author,) = read(build(Content(sender=given)))["From"].addresses
    assert (author.display_name, author.addr_spec) == (name, address)


@pytest.mark.parametrize(
    "given", ["", "Ann", "Ann <>", "Ann <a>", "<a@b> c", "Ann <a@b> <c@d>", "x" * 201 + " <a@b.c>"]
)
def test_what_is_no_sender(given):
    with pytest.raises(Invalid):
        parse_sender(given)


def test_an_address_beyond_ascii_makes_headers_of_utf8():
    mail = build(Content(subject="ü"), to="jörg@example.org")
    assert "To: jörg@example.org\r\n".encode() in mail
    assert recipient(mail) == "jörg@example.org"


@pytest.mark.timeout(5)
@pytest.mark.parametrize("sender", [" " * 50_000 + "x", "< " * 50_000, '"' + "\\a" * 50_000, "a" + " " * 50_000 + "<"])
def test_no_sender_takes_long(sender):
    with pytest.raises(Invalid):
        parse_sender(sender)
