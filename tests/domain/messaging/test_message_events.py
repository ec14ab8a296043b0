"""The events that Waypost itself records: their contents, and their deduplication."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.messaging.test_status import NOW, state
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.message_events import engaged, engagement_type, received, status_changed
from waypost.domain.messaging.status import Transition, transition
from waypost.domain.values.ids import public


def receipt(**changes: Any) -> Receipt:
    return Receipt(**({"workspace_id": 1, "connection_id": 7, "occurred_at": NOW + 5} | changes))


def test_a_change_says_all_that_is_known_of_the_message():
    message = state(
        profile_id=9,
        template_id=3,
        campaign="spring",
        metadata='{"order":7}',
        test=1,
        provider_message_id="p-1",
        parts=2,
        price_micros=6450,
        currency="USD",
        carrier="310260",
    )
    change = Transition(
        status=Status.FAILED, at=NOW + 1, code=2015, reason="spam", provider_code="SPAM", detail="the carrier says so"
    )
    _, note = transition(message, change)
    assert note is not None
    event = status_changed(message, note)
    assert (event.workspace_id, event.type, event.profile_id, event.occurred_at) == (1, "message.failed", 9, NOW + 1)
    # It is created once, in the transaction of the transition, so it needs no deduplication key.
    assert event.message_key == 0
    assert json.loads(event.data) == {
        "message": {
            "id": public("msg", 1),
            "channel": "sms",
            "to": "+12025550101",
            "status": "failed",
            "connection_id": public("con", 7),
            "code": 2015,
            "reason": "spam",
            "provider_code": "SPAM",
            "detail": "the carrier says so",
            "provider_message_id": "p-1",
            "template_id": public("tpl", 3),
            "campaign": "spring",
            "metadata": {"order": 7},
            "test": True,
            "parts": 2,
            "price_micros": 6450,
            "currency": "USD",
            "carrier": "310260",
        }
    }


def test_what_is_not_known_is_left_out():
    message = state(status=Status.QUEUED, due_at=NOW)
    _, note = transition(message, Transition(status=Status.SENDING, at=NOW, node=1))
    assert note is not None
    said = json.loads(status_changed(message, note).data)["message"]
    assert said.keys() == {"id", "channel", "to", "status", "connection_id"}


@given(st.lists(st.sampled_from(list(Status)), max_size=12))
def test_no_two_changes_of_a_message_are_the_same_event(statuses):
    # Failed, resent, expired before it was tried: the same status, twice within one try.
    message = state(status=Status.QUEUED, due_at=NOW, tries=0)
    names = []
    for step, status in enumerate(statuses):
        changed, note = transition(message, Transition(status=status, at=NOW + step, due_at=NOW, node=1, by_hand=True))
        if changed:
            assert note is not None
            event = status_changed(message, note)
            assert event.type == f"message.{status.value}"
            names.append(event.message_id)
    assert len(set(names)) == len(names)


def test_what_a_person_did_is_told_with_the_message_or_without():
    opened = receipt(
        kind="engagement", event="message.opened", address="ada@example.com", properties={"agent": "x"}, detail="why"
    )
    message = state(profile_id=9, status=Status.DELIVERED)
    event = engaged(message, opened, 5, "con:1", 77, "message.opened")
    assert (event.type, event.profile_id, event.occurred_at) == ("message.opened", 9, NOW + 5)
    assert (event.message_id, event.message_key) == ("con:1", 77)
    said = json.loads(event.data)
    assert said["message"]["detail"] == "why"
    assert (said["connection_id"], said["properties"]) == (public("con", 7), {"agent": "x"})
    assert "from" not in said
    # If the message is no longer stored, only the address is known.
    event = engaged(None, opened, 5, "con:1", 77, "email.opened")
    assert event.profile_id == 5
    said = json.loads(event.data)
    assert said == {"from": "ada@example.com", "connection_id": public("con", 7), "properties": {"agent": "x"}}


@pytest.mark.parametrize(
    ("type_", "channel", "expected"),
    [
        ("message.opened", "email", "email.opened"),
        ("email.opened", "email", "email.opened"),
        ("message.unsubscribed", "sms", "message.unsubscribed"),
        ("custom.thing", "email", "custom.thing"),
    ],
)
def test_what_happens_to_emails_has_names_of_its_own(type_: str, channel: str, expected: str):
    assert engagement_type(type_, channel) == expected


@pytest.mark.parametrize("keyword", [None, "stop"])
def test_what_a_person_wrote(keyword):
    wrote = receipt(kind="inbound", text="STOP", address="+12025550101", own_address="+12025550199")
    event = received(wrote, keyword, 4, "con:2", 78)
    assert (event.type, event.profile_id, event.message_key) == ("message.received", 4, 78)
    said = json.loads(event.data)
    assert said.pop("keyword", None) == keyword
    assert said == {
        "text": "STOP",
        "from": "+12025550101",
        "to": "+12025550199",
        "connection_id": public("con", 7),
    }
    # A message without text, such as a picture.
    assert json.loads(received(receipt(kind="inbound"), None, None, "x", 1).data)["text"] == ""
