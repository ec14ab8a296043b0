"""A keyword counts only as the whole message."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from waypost.domain.messaging.keywords import HELP, START, STOP, keyword, read_inbound, with_opt_out

NOW = 1_790_000_000_000_000
ALL = sorted(STOP | START | HELP)
WORD = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        *((word, "stop") for word in ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT")),
        *((word, "start") for word in ("START", "YES", "UNSTOP")),
        *((word, "help") for word in ("HELP", "INFO")),
        ("stop", "stop"),
        (" Stop \r\n", "stop"),
        ("Stop.", "stop"),
        ("STOP!!", "stop"),
        ("“STOP”", "stop"),
        ("'stop'", "stop"),
        ("Opt  out", "stop"),
        ("help?", "help"),
        ("Yes!", "start"),
    ],
)
def test_keywords(text: str, means: str):
    assert keyword(text) == means


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "...",
        "stop it",
        "please stop",
        "don't stop",
        "stop by tomorrow",
        "the end",
        "yes please",
        "no help",
        "s t o p",
        "stops",
        "nonstop",
        "endless",
        "stop\nsending",
        "stop." + " " * 1000,
        "stop" * 100,
        "YESYES",
    ],
)
def test_anything_else_is_none(text: str):
    assert keyword(text) is None


@given(st.sampled_from(ALL), st.lists(WORD, min_size=1, max_size=4), st.lists(WORD, max_size=4))
def test_a_keyword_within_a_sentence_never_counts(word: str, before: list[str], after: list[str]):
    for text in (" ".join([*before, word, *after]), " ".join([word, *before])):
        assume(" ".join(text.casefold().split()) not in ALL)
        assert keyword(text) is None
        assert keyword(text.upper() + "!") is None


@given(st.sampled_from(ALL), st.text(" \t\r\n.!?\"'", max_size=8), st.text(" \t\r\n.!?\"'", max_size=8))
def test_case_and_what_stands_around_do_not_matter(word: str, before: str, after: str):
    assert keyword(before + word.title() + after) == keyword(word) is not None


@given(st.text())
def test_nothing_raises(text: str):
    assert keyword(text) in (None, "stop", "start", "help")


MESSAGE = {
    "originationNumber": "+12025550101",
    "destinationNumber": "+18335550100",
    "messageKeyword": "KEYWORD_111122223333",
    "messageBody": "STOP",
    "inboundMessageId": "in-1",
    "previousPublishedMessageId": "out-1",
}


def test_a_message_that_comes_in_through_aws():
    found = read_inbound(json.dumps(MESSAGE).encode(), 1, 2, NOW)
    assert found is not None
    assert (found.kind, found.text, found.address, found.own_address) == (
        "inbound",
        "STOP",
        "+12025550101",
        "+18335550100",
    )
    assert (found.receipt_id, found.provider_message_id, found.occurred_at) == ("in-1", "out-1", NOW)
    assert (found.workspace_id, found.connection_id, found.status, found.suppress) == (1, 2, None, None)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"originationNumber":"+1"}', b"\xff", b"[" * 5000])
def test_what_is_no_such_message_is_none(body: bytes):
    assert read_inbound(body, 1, 2, NOW) is None


def test_a_message_without_words_or_ids():
    found = read_inbound(b'{"originationNumber":"+1","destinationNumber":"+2"}', 1, 2, NOW)
    assert found is not None
    assert (found.text, found.receipt_id, found.provider_message_id) == ("", None, None)


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("20 % off", "20 % off\nReply STOP to opt out"),
        ("20 % off \n", "20 % off\nReply STOP to opt out"),
        ("20 % off. Reply STOP to end", None),
        ("Text stop to leave", None),
        ("Unsubscribe by a call", None),
        ("Our unsubscribe page", None),
        ("Leave: https://s.example/u/" + "A" * 90, None),
        ("Stop by tomorrow", "Stop by tomorrow\nReply STOP to opt out"),
        ("", None),
    ],
)
def test_a_promotional_text_says_how_to_opt_out(text: str, ended: str | None):
    assert with_opt_out(text, "Reply STOP to opt out") == (text if ended is None else ended)
    assert with_opt_out(text, "") == text
