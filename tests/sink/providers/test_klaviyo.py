"""Klaviyo's Create Event: its rules, its errors, and its deduplication."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sink.hearing import ask, number, sent, tell
from waypost.clock import SECOND
from waypost.sink.providers.klaviyo import RateLimits
from waypost.sink.thread_runner import Running

HEADERS = {
    "authorization": "Klaviyo-API-Key pk_made_up",
    "revision": "2026-07-15",
    "content-type": "application/vnd.api+json",
}


@pytest.fixture
def sink(shared):
    tell(shared, "PUT", "/klaviyo/settings", {})
    tell(shared, "DELETE", "/fate/klaviyo")
    tell(shared, "DELETE", "/sent")
    return shared


def event(profile: Any = None, metric: str = "Birthday SMS", **more: Any) -> dict[str, Any]:
    about = {"type": "profile", "id": "01KMADEUP", "attributes": {}} if profile is None else profile
    attributes = {
        "properties": {"Status": "SENDING", "MessageID": "wk-1"},
        "time": "2026-09-21T13:00:01+00:00",
        "metric": {"data": {"type": "metric", "attributes": {"name": metric}}},
        "profile": {"data": about},
    }
    return {"data": {"type": "event", "attributes": attributes | more}}


def person(**attributes: Any) -> dict[str, Any]:
    return {"type": "profile", "attributes": attributes}


def post(sink: Running, given: Any, **changes: str) -> tuple[int, Mapping[str, str], Any]:
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    headers = {name: value for name, value in (HEADERS | changes).items() if value}
    status, told, answer = ask(sink, "POST", "/klaviyo/api/events", body, headers)
    return status, told, json.loads(answer) if answer else None


def test_an_event_is_taken_with_202_and_nothing_more(sink):
    status, headers, body = post(sink, event(unique_id="wk-1:SENDING"))
    assert (status, headers["content-length"], body) == (202, "0", None)
    (kept,) = sent(sink, "klaviyo")
    assert (kept["address"], kept["mid"]) == ("01KMADEUP", "wk-1:SENDING")
    assert json.loads(kept["body"]) == {
        "metric": "Birthday SMS",
        "properties": {"Status": "SENDING", "MessageID": "wk-1"},
    }


def test_an_event_is_kept_once_for_a_profile_a_metric_and_a_unique_id(sink):
    for one in (
        event(unique_id="a"),
        event(unique_id="a", properties={}),
        event(unique_id="b"),
        event(unique_id="a", metric="Other"),
        event(person(email="ines@example.test"), unique_id="a"),
    ):
        assert post(sink, one)[0] == 202
    assert [kept["mid"] for kept in sent(sink, "klaviyo")] == ["a", "b", "a", "a"]


def test_without_a_unique_id_one_event_is_kept_in_a_second(sink):
    for at in ("13:00:01+00:00", "13:00:01.900+00:00", "13:00:02+00:00"):
        assert post(sink, event(time=f"2026-09-21T{at}"))[0] == 202
    assert len(sent(sink, "klaviyo")) == 2


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"authorization": ""}, 401, "not_authenticated"),
        ({"authorization": "Bearer pk_made_up"}, 401, "not_authenticated"),
        ({"authorization": "Klaviyo-API-Key wrong"}, 401, "authentication_failed"),
        ({"authorization": "Klaviyo-API-Key pk_wrong"}, 401, "authentication_failed"),
        ({"revision": ""}, 400, "invalid"),
        ({"revision": "soon"}, 400, "invalid"),
        ({"content-type": "text/plain"}, 415, "invalid"),
    ],
)
def test_wrong_headers_are_refused(sink, changes, status, code):
    found, headers, told = post(sink, event(), **changes)
    (error,) = told["errors"]
    assert (found, error["status"], error["code"]) == (status, status, code)
    assert headers["content-type"] == "application/vnd.api+json"
    assert error.keys() == {"id", "status", "code", "title", "detail", "source"}
    assert sent(sink, "klaviyo") == []


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({}, "/data/type"),
        ([], "/data/type"),
        ({"data": {"type": "event", "attributes": []}}, "/data/type"),
        (event(properties=None), "/data/attributes/properties"),
        (event(properties={f"p{n}": n for n in range(401)}), "/data/attributes/properties"),
        (event(properties={"long": "x" * 102_401}), "/data/attributes/properties"),
        (event(metric=""), "/data/attributes/metric"),
        (event(metric="m" * 128), "/data/attributes/metric"),
        (event({"type": "metric"}), "/data/attributes/profile"),
        (event(person()), "/data/attributes/profile"),
        (event(person(first_name="Ines")), "/data/attributes/profile"),
        (event(person(phone_number="2025550101")), "/data/attributes/profile/data/attributes/phone_number"),
        (event(person(email="ines")), "/data/attributes/profile/data/attributes/email"),
        (event(value="9.99"), "/data/attributes/value"),
        (event(unique_id=7), "/data/attributes/unique_id"),
        (event(time="yesterday"), "/data/attributes/time"),
        (event(time="1989-01-01T00:00:00Z"), "/data/attributes/time"),
        (event(time="2999-01-01T00:00:00Z"), "/data/attributes/time"),
        (b"nope", "/data"),
        (b"[" * 200_000, "/data"),
    ],
)
def test_what_is_wrong_with_an_event_is_pointed_at(sink, given, pointer):
    status, _, told = post(sink, given)
    assert (status, told["errors"][0]["source"]) == (400, {"pointer": pointer})


def test_an_event_that_is_too_large_is_refused(sink):
    assert post(sink, b" " * (5 * 1024 * 1024 + 1))[0] == 413


def test_troubles_are_told_as_they_are(sink):
    for word, status in (("throttled", 429), ("temporary", 503), ("unknown_failure", 500), ("error", 500)):
        found, headers, told = post(sink, event(person(phone_number=number(word))))
        assert (found, told["errors"][0]["status"]) == (status, status)
        assert ("retry-after" in headers) is (status == 429)
    assert sent(sink, "klaviyo") == []
    with pytest.raises(ConnectionError):
        post(sink, event(person(phone_number=number("lost_answer"))))
    assert len(sent(sink, "klaviyo")) == 1


def test_a_limit_can_be_set(sink):
    tell(sink, "PUT", "/klaviyo/settings", {"per_second": 1})
    answers = [post(sink, event(unique_id=str(at)))[:2] for at in range(4)]
    assert answers[0][0] == 202
    assert [headers["retry-after"] for status, headers in answers if status == 429]


def test_the_limits_are_told_and_kept(sink):
    tell(sink, "PUT", "/klaviyo/settings", {"per_minute": 3, "per_second": 1000})
    answers = [post(sink, event(unique_id=str(at)))[:2] for at in range(5)]
    taken = [headers for status, headers in answers if status == 202]
    # The minute may end in between.
    assert len(taken) in (3, 4, 5)
    assert {headers["ratelimit-limit"] for _, headers in answers} <= {"3, 1000;w=1, 3;w=60"}
    assert taken[0]["ratelimit-remaining"] == "2"
    for status, headers in answers:
        assert 1 <= int(headers["ratelimit-reset"]) <= 60
        assert (status == 429) == ("retry-after" in headers)
    # Bulk calls have limits of their own.
    assert post_job(sink, job(event(unique_id="x")))[0] == 202


def test_windows_are_those_of_the_clock():
    limits = RateLimits(2, 5)
    minute = 1_790_000_040 * SECOND
    counted = [limits.count(minute + at * SECOND)[0] for at in (0, 0, 0, 1, 1, 2, 59, 60, 60, 60)]
    # The third call of a second waits for the next one, the sixth of a minute for the next minute.
    assert counted == [0, 0, 1, 0, 0, 58, 1, 0, 0, 1]
    assert RateLimits(None, None).count(minute) == (0, [])


def job(*events: Any) -> dict[str, Any]:
    """A bulk call: the events of each profile under it."""
    entries: dict[str, Any] = {}
    for one in events:
        attributes = dict(one["data"]["attributes"])
        profile = attributes.pop("profile")
        entry = {"profile": profile, "events": {"data": []}}
        kept = entries.setdefault(json.dumps(profile), {"type": "event-bulk-create", "attributes": entry})
        kept["attributes"]["events"]["data"].append({"type": "event", "attributes": attributes})
    inner = {"events-bulk-create": {"data": list(entries.values())}}
    return {"data": {"type": "event-bulk-create-job", "attributes": inner}}


def post_job(sink: Running, given: Any) -> tuple[int, Mapping[str, str], Any]:
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    status, told, answer = ask(sink, "POST", "/klaviyo/api/event-bulk-create-jobs", body, HEADERS)
    return status, told, json.loads(answer) if answer else None


def test_many_events_are_taken_in_one_call(sink):
    given = [event(unique_id=f"wk-1:{status}", properties={"Status": status}) for status in ("PENDING", "SENT", "SENT")]
    given.append(event(person(email="ines@example.test"), unique_id="wk-1:SENT"))
    status, headers, body = post_job(sink, job(*given))
    assert (status, headers["content-length"], body) == (202, "0", None)
    kept = tell(sink, "GET", "/klaviyo/events")["data"]
    assert [(one["profile"], one["unique_id"]) for one in kept] == [
        ("01KMADEUP", "wk-1:PENDING"),
        ("01KMADEUP", "wk-1:SENT"),
        ("ines@example.test", "wk-1:SENT"),
    ]
    # One that came by itself is not kept again.
    post(sink, given[0])
    assert len(tell(sink, "GET", "/klaviyo/events")["data"]) == 3


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda data: data.update(type="event"), "/data/type"),
        (lambda data: data["attributes"].clear(), "/data/attributes/events-bulk-create"),
        (lambda data: entry(data).update(type="x"), "/data/attributes/events-bulk-create/data/0"),
        (lambda data: entry(data)["attributes"].pop("profile"), "PLACE/attributes/profile"),
        (lambda data: entry(data)["attributes"]["events"].clear(), "PLACE/attributes/events"),
        (lambda data: first(data).update(type="x"), "PLACE/attributes/events/data/0"),
        (lambda data: first(data)["attributes"].pop("metric"), "PLACE/attributes/events/data/0/attributes/metric"),
        (lambda data: first(data)["attributes"].update(time="x"), "PLACE/attributes/events/data/0/attributes/time"),
    ],
)
def test_a_job_with_a_fault_is_refused_whole(sink, change, pointer):
    given = job(event(unique_id="a"), event(unique_id="b"))
    change(given["data"])
    status, _, told = post_job(sink, given)
    place = "/data/attributes/events-bulk-create/data/0"
    assert (status, told["errors"][0]["source"]) == (400, {"pointer": pointer.replace("PLACE", place)})
    assert tell(sink, "GET", "/klaviyo/events")["data"] == []


def entry(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = data["attributes"]["events-bulk-create"]["data"][0]
    return found


def first(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = entry(data)["attributes"]["events"]["data"][0]
    return found


def test_a_job_has_a_thousand_events(sink):
    assert post_job(sink, job(*(event(unique_id=str(at)) for at in range(1000))))[0] == 202
    assert post_job(sink, job(*(event(unique_id=str(at)) for at in range(1001))))[0] == 400
    assert post_job(sink, b" " * (5 * 1024 * 1024 + 1))[0] == 413
    assert post_job(sink, b"[" * 200_000)[0] == 400


def test_events_are_listed_by_metric_and_profile(sink):
    post(sink, event(unique_id="a", time="2026-09-21T15:00:01.987+02:00", value=7.5))
    post(sink, event(metric="Other", unique_id="b"))
    about = {"type": "profile", "id": "01KOTHER", "attributes": {"email": "ines@example.test"}}
    post(sink, event(about, unique_id="c"))
    (one, _, _) = tell(sink, "GET", "/klaviyo/events")["data"]
    assert (one["metric"], one["profile"], one["value"]) == ("Birthday SMS", "01KMADEUP", 7.5)
    # Klaviyo keeps no fractions of a second.
    assert one["time"] == "2026-09-21T13:00:01+00:00"
    assert one["properties"] == {"Status": "SENDING", "MessageID": "wk-1"}

    def listed(query: str) -> list[str]:
        return [found["unique_id"] for found in tell(sink, "GET", f"/klaviyo/events?{query}")["data"]]

    assert listed("metric=Birthday%20SMS") == ["a", "c"]
    assert listed("profile=01KMADEUP") == ["a", "b"]
    assert listed("profile=01KMADEUP&metric=Other") == ["b"]
    assert listed("profile=ines@example.test") == ["c"]
    assert listed("profile=nobody") == []
    page = tell(sink, "GET", "/klaviyo/events?limit=2")
    assert [found["unique_id"] for found in page["data"]] == ["a", "b"]
    rest = tell(sink, "GET", f"/klaviyo/events?limit=2&after={page['next']}")
    assert ([found["unique_id"] for found in rest["data"]], rest["next"]) == (["c"], None)


def test_only_the_key_that_was_set_is_right_and_scopes_count(sink):
    told = tell(sink, "PUT", "/klaviyo/settings", {"api_key": "pk_the_one", "scopes": ["accounts:read"]})
    assert "pk_the_one" not in json.dumps(told)
    assert post(sink, event())[0] == 401
    assert post(sink, event(), authorization="Klaviyo-API-Key pk_the_one")[0] == 403
    headers = HEADERS | {"authorization": "Klaviyo-API-Key pk_the_one"}
    status, _, body = ask(sink, "GET", "/klaviyo/api/accounts", None, headers)
    assert (status, json.loads(body)["data"][0]["type"]) == (200, "account")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["data", "type", "attributes", "profile", "metric", "name"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(JSON, st.sampled_from(["properties", "metric", "profile"]))
def test_no_body_breaks_it(shared, inner, name):
    tell(shared, "PUT", "/klaviyo/settings", {})
    assert post(shared, inner)[0] == 400
    status, _, told = post(shared, event() | {"data": event()["data"] | {"attributes": {name: inner}}})
    assert (status, told["errors"][0]["code"]) == (400, "invalid")
