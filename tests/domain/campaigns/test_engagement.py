"""What people did is read from events; an event of another message, or one with other contents, is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.campaigns.engagement import ENGAGEMENTS, LONGEST_LINK, Engagement, read_engagement
from waypost.domain.events.event import Event

OCCURRENCE = "occ_0000000000000007"
MESSAGE = {"id": "msg_0000000000000001", "occurrence_id": OCCURRENCE, "variant": "b"}


def event(type_: str, data: Any, profile_id: int | None = 5) -> Event:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Event(workspace_id=1, type=type_, profile_id=profile_id, occurred_at=42, message_id="m", data=body)


@pytest.mark.parametrize(("type_", "kind"), ENGAGEMENTS.items())
def test_every_type(type_: str, kind: str):
    found = read_engagement(event(type_, {"message": MESSAGE, "url": "https://a.example/x"}))
    link = "https://a.example/x" if kind == "clicked" else ""
    assert found == Engagement(7, 5, "b", kind, 42, False, link)


def test_machines_are_noted():
    found = read_engagement(event("email.opened", {"message": MESSAGE, "machine": True, "machine_reason": "proxy"}))
    assert found is not None
    assert found.machine


def test_a_long_link_is_shortened_and_a_person_may_be_unknown():
    found = read_engagement(
        event("email.clicked", {"message": MESSAGE, "url": "https://a.example/" + "x" * 3000}, None)
    )
    assert found is not None
    assert len(found.link) == LONGEST_LINK
    assert found.profile_id is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"message": None},
        {"message": {"id": "msg_0000000000000001"}},
        {"message": {"id": "msg_0000000000000001", "occurrence_id": None}},
        {"occurrence_id": OCCURRENCE},
        {"message": "occurrence_id"},
        {"message": {"occurrence_id": 7}},
        {"message": {"occurrence_id": ""}},
        {"message": {"occurrence_id": "occ_7"}},
        {"message": {"occurrence_id": "occ_ffffffffffffffff"}},
        {"message": {"occurrence_id": "cmp_0000000000000007"}},
        {"message": {"occurrence_id": ["occ_0000000000000007"]}},
        {"message": MESSAGE | {"variant": 7}},
        {"message": MESSAGE, "url": {"a": 1}},
        {"message": MESSAGE, "machine": "yes"},
        b'{"message": {"occurrence_id": "occ_00000000000',
        b'"occurrence_id"',
        b'\xff\xfe"occurrence_id"',
    ],
)
def test_other_contents_are_no_engagement(data: Any):
    assert read_engagement(event("email.clicked", data)) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(OCCURRENCE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "occurrence_id", "variant", "url", "machine"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(ENGAGEMENTS)), json_values)
def test_any_json_is_read(type_: str, data: Any):
    found = read_engagement(event(type_, data))
    assert found is None or found.occurrence_id == 7
