"""Event types: the examples and real webhooks match the schemas."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from waypost.domain.events.event_types import SYSTEM_TYPES, EventType, describe, tracked_type
from waypost.domain.events.segment import TYPES, Entry, metric_type, read_entry, read_message
from waypost.domain.messaging.message import Status
from waypost.domain.values.json_numbers import LARGEST, SMALLEST
from waypost.domain.webhooks.endpoint import event_object, webhook_body

NOW = 1_774_000_000_000_000
ENTRIES = [*SYSTEM_TYPES, tracked_type("Order Shipped"), describe("event.points_earned"), describe("odd.example")]
MESSAGES = {
    "identify": {"userId": "a", "traits": {"email": "a@example.com"}},
    "alias": {"userId": "a", "previousId": "b"},
    "page": {"anonymousId": "a", "name": "Home", "category": "Docs", "properties": {"url": "https://example.com"}},
    "screen": {"userId": 7, "name": "Basket"},
    "group": {"userId": "a", "groupId": "g", "traits": {"seats": 5}},
}
metrics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


def check(entry: EventType, body: object) -> None:
    Draft202012Validator(entry.schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(body)


def body_of(entry: Entry, profile_id: int | None) -> dict[str, object]:
    data = event_object(NOW << 8, entry.message_id, profile_id, entry.data)
    found: dict[str, object] = json.loads(webhook_body(entry.type, entry.occurred_at, data))
    return found


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.type)
def test_examples_fit_their_schemas(entry):
    Draft202012Validator.check_schema(entry.schema)
    check(entry, entry.example)
    assert entry.description
    with pytest.raises(ValidationError):
        check(entry, entry.example | {"type": "event.other"})
    for field in ("id", "message_id", "profile_id"):
        with pytest.raises(ValidationError):
            check(entry, entry.example | {"data": {k: v for k, v in entry.example["data"].items() if k != field}})


def test_every_kind_of_message_but_a_tracked_one_has_a_type_of_its_own():
    assert [entry.type for entry in SYSTEM_TYPES][: len(TYPES)] == list(TYPES.values())


def test_every_status_of_a_message_has_a_type():
    types = {entry.type for entry in SYSTEM_TYPES}
    # The status `held` has no event yet.
    assert {f"message.{status}" for status in Status} - types == {"message.held"}


@pytest.mark.parametrize("kind", MESSAGES)
def test_real_webhooks_fit_the_schemas(kind):
    entry = read_entry(read_message(json.dumps(MESSAGES[kind]).encode()), kind, 1, NOW, "message-1")
    check(describe(entry.type), body_of(entry, NOW << 4))
    check(describe(entry.type), body_of(entry, None))


@given(
    metrics.filter(str.strip),
    # An event with a larger integer is refused.
    st.dictionaries(st.text(max_size=5), st.integers(SMALLEST, LARGEST) | st.none(), max_size=3),
)
def test_real_webhooks_of_any_metric_fit_the_schema(metric, properties):
    message = {"userId": "a", "event": metric, "properties": properties, "context": {"ip": "192.0.2.1"}}
    raw = json.dumps(message).encode()
    entry = read_entry(read_message(raw), "track", 1, NOW, "message-1")
    check(tracked_type(metric), body_of(entry, None))


def test_a_type_that_nobody_tracked_gets_a_metric_that_makes_it():
    assert describe("event.points_earned").metric == "Points Earned"
    assert metric_type("Points Earned") == "event.points_earned"
    assert describe("event.order_shipped", "ORDER shipped").metric == "ORDER shipped"
