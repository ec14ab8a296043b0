"""SMTP replies and commands."""

import itertools
import smtplib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.domain.providers.smtp import (
    LONGEST_REPLY,
    SmtpCapabilities,
    SmtpReply,
    SmtpReplyParser,
    dot_stuff,
    enhanced_code,
    is_allowed_in_command,
    mail_command,
    read_capabilities,
    recipient_command,
)

TALK = b"220 hi\r\n250-first\r\n250-second\r\n250 third\r\n354\n550 5.1.1 n\xc3\xb6\r\n"


def reply_of(code: int, text: str) -> SmtpReply:
    """A reply with these lines."""
    return SmtpReply(code, tuple(text.encode().split(b"\n")))


REPLIES = [reply_of(220, "hi"), reply_of(250, "first\nsecond\nthird"), reply_of(354, ""), reply_of(550, "5.1.1 nö")]


@given(st.lists(st.integers(0, len(TALK)), max_size=10))
def test_replies_come_whole_however_they_are_cut(places):
    replies = SmtpReplyParser()
    found: list[SmtpReply] = []
    cuts = [0, *sorted(places), len(TALK)]
    for start, end in itertools.pairwise(cuts):
        found += replies.take(TALK[start:end])
        assert replies.unfinished == (TALK[:end] != b"" and not is_whole(end))
    assert found == REPLIES


def is_whole(end: int) -> bool:
    """Return whether a reply ends here."""
    lines = TALK[:end].split(b"\n")
    return lines[-1] == b"" and lines[-2][3:4] != b"-"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad\r\n",
        b"\r\n",
        b"25 x\r\n",
        b"2500 x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"250 a\rb\r\n",
        b"\x16\x03\x01\n",
    ],
)
def test_what_is_no_reply(data):
    with pytest.raises(ValueError, match="not a line"):
        SmtpReplyParser().take(data)


def test_no_reply_is_endless():
    def listen(data: bytes) -> None:
        replies = SmtpReplyParser()
        for _ in range(LONGEST_REPLY // 50):
            replies.take(data)

    for data in (b"250-" + b"x" * 100 + b"\r\n", b"x" * 100):
        with pytest.raises(ValueError, match="more than"):
            listen(data)


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_reply_or_refused(data):
    replies = SmtpReplyParser()
    try:
        found = replies.take(data)
    except ValueError:
        return
    assert all(200 <= reply.code <= 599 for reply in found)


def test_what_a_server_offers():
    text = "mail.test\nPIPELINING\nSIZE 1000\nStartTLS\nAUTH plain LOGIN\nAUTH=XOAUTH2\nSMTPUTF8\n\n  \nFOO BAR"
    assert read_capabilities(reply_of(250, text)) == SmtpCapabilities(
        True, True, True, True, frozenset({"PLAIN", "LOGIN", "XOAUTH2"})
    )
    assert read_capabilities(reply_of(250, "PIPELINING is my name")) == SmtpCapabilities()


def test_commands():
    offer = SmtpCapabilities(size=True)
    assert mail_command("a@b", 12, offer, utf8=False) == b"MAIL FROM:<a@b> SIZE=12\r\n"
    assert mail_command("", 12, SmtpCapabilities(), utf8=True) == b"MAIL FROM:<> SMTPUTF8\r\n"
    assert recipient_command("ü@b") == "RCPT TO:<ü@b>\r\n".encode()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("5.1.1 who", "5.1.1"),
        ("2.0.0", "2.0.0"),
        (" 4.7.1  x", "4.7.1"),
        ("5.1.1who", None),
        ("no 5.1.1", None),
        ("", None),
    ],
)
def test_enhanced_codes(text, code):
    assert enhanced_code(text) == code


@given(st.binary(max_size=300))
@example(b".")
@example(b"a\r\n.\r\nMAIL FROM:<x@y>\r\n")
@example(b"a\n.\r\nb")
@example(b"a\r.\rb")
@example(b"a\r\n.\nb")
@example(b"\r\r\n\n.")
def test_a_mail_ends_where_it_ends(mail):
    sent = dot_stuff(mail)
    assert sent.endswith(b".\r\n")
    body = sent[:-3]
    lines = body.split(b"\r\n")
    # Whatever a server accepts as a line end, nothing in the email looks like its end.
    assert lines[-1] == b""
    assert not any(b"\r" in line or b"\n" in line or line == b"." for line in lines)
    undone = b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)
    plain = smtplib._fix_eols(mail.decode("latin-1")).encode("latin-1")  # type: ignore[attr-defined]
    assert undone == (plain if plain.endswith(b"\r\n") or not plain else plain + b"\r\n")


@pytest.mark.parametrize("sign", ["<", ">", " ", "\r", "\n", "\t", "\0", "\x7f"])
def test_what_ends_a_command(sign):
    assert is_allowed_in_command("a@b")
    assert not is_allowed_in_command(f"a{sign}@b")


def test_only_controls_spaces_and_angle_brackets_are_kept_out_of_a_command():
    refused = {code for code in range(0x3000) if not is_allowed_in_command(f"a{chr(code)}@b")}
    assert refused == {*range(0x21), ord("<"), ord(">"), 0x7F}
