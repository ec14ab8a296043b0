"""The webhook action of a Klaviyo flow: what it posts, what it retries, and what it tells."""

import json
from email.utils import formatdate
from typing import Any

import pytest

from tests.sink.hearing import Ear, ask, tell
from tests.waiting import eventually_blocking
from waypost import clock
from waypost.sink.providers import klaviyo_flow
from waypost.sink.providers.klaviyo_flow import RETRIED, SHOWN_ANSWER, SHOWN_BODY, FlowSettings, read_retry_after
from waypost.sink.thread_runner import Running

BODY = {
    "phone": "{{ person.phone_number|default:'' }}",
    "text": "Happy Birthday, {{ person.first_name|default:'' }}! Order {{ event.OrderId }}",
    "callbackData": json.dumps({"profileID": "{{ person.KlaviyoID|default:''}}", "name": "{{ person.first_name }}"}),
    "sendPurpose": "Birthday",
}
INES = {"id": "01KINES", "phone_number": "+12025550101", "first_name": "Ines", "event": {"OrderId": 7}}


@pytest.fixture
def sink(shared):
    tell(shared, "PUT", "/klaviyo/settings", {})
    tell(shared, "PUT", "/klaviyo-flow/settings", {"retry_base": 0.001, "timeout": 5})
    tell(shared, "POST", "/forget?name=flow")
    tell(shared, "DELETE", "/behaviour/flow")
    tell(shared, "DELETE", "/script/flow")
    return shared


def start(sink: Running, url: str, *profiles: dict[str, Any], status: int = 202, **more: Any) -> Any:
    """The answer to the request for a run."""
    template = {"url": url, "headers": {"X-Client-ID": "cid"}, "body": BODY} | more.pop("template", {})
    given = {"template": template, "profiles": list(profiles) or [INES], **more}
    found, _, told = ask(sink, "POST", "/klaviyo-flow/run", json.dumps(given).encode())
    assert found == status, told
    return json.loads(told)


def finished(sink: Running, run: Any, query: str = "") -> Any:
    """The run, once it is finished."""

    def look() -> Any:
        shown = tell(sink, "GET", f"/klaviyo-flow/runs/{run['id']}{query}")
        return shown if shown["status"] == "finished" else None

    return eventually_blocking(look)


def hook(sink: Running, **options: Any) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{sink.url}/hook/flow?{query}"


def test_a_webhook_is_posted_for_each_profile(sink, ear: Ear):
    run = start(sink, ear.url + "/text/message/send", INES, INES | {"id": "01KOTHER", "first_name": "Ottó"})
    assert run == {"id": run["id"], "profiles": 2}
    first, second = sorted(ear.several(2), key=lambda heard: b"Ines" not in heard.body)
    assert (first.path, first.headers["x-client-id"]) == ("/text/message/send", "cid")
    assert first.headers["content-type"] == "application/json"
    assert json.loads(first.body) == {
        "phone": "+12025550101",
        "text": "Happy Birthday, Ines! Order 7",
        "callbackData": '{"profileID": "01KINES", "name": "Ines"}',
        "sendPurpose": "Birthday",
    }
    assert json.loads(second.body)["text"] == "Happy Birthday, Ottó! Order 7"
    shown = finished(sink, run)
    assert (shown["profiles"], shown["counts"], shown["next"]) == (2, {"sent": 2}, None)
    assert [state["profile"] for state in shown["data"]] == ["01KINES", "01KOTHER"]
    (attempt,) = shown["data"][0]["attempts"]
    assert (attempt["status"], attempt["error"], attempt["retry_after"]) == (200, None, None)
    assert json.loads(shown["data"][0]["body"])["sendPurpose"] == "Birthday"


NASTY = 'Ines "the great"\nof \\Lisbon'


def test_a_quote_in_a_name_breaks_nothing_unless_it_is_naive(sink, ear: Ear):
    person = INES | {"first_name": NASTY}
    start(sink, ear.url, person)
    body = json.loads(ear.wait().body)
    assert body["text"] == f"Happy Birthday, {NASTY}! Order 7"
    assert json.loads(body["callbackData"])["name"] == NASTY
    start(sink, ear.url, person, naive=True)
    with pytest.raises(json.JSONDecodeError):
        json.loads(ear.wait().body)
    # Without such letters there is no difference.
    start(sink, ear.url, INES, naive=True)
    assert json.loads(json.loads(ear.wait().body)["callbackData"]) == {"profileID": "01KINES", "name": "Ines"}


def test_a_body_is_sent_as_it_is_typed(sink, ear: Ear):
    typed = '{ "text" : "Hi {{ person.first_name }}",\n  "n": 1.0 }'
    start(sink, ear.url, template={"body": typed, "headers": {"Content-Type": "application/vnd.api+json"}})
    heard = ear.wait()
    assert heard.body.decode() == typed.replace("{{ person.first_name }}", "Ines")
    assert heard.headers["content-type"] == "application/vnd.api+json"


@pytest.mark.parametrize("status", sorted(RETRIED))
def test_these_statuses_are_retried(sink, ear: Ear, status):
    ear.statuses = [status, status]
    shown = finished(sink, start(sink, ear.url))
    (state,) = shown["data"]
    assert [attempt["status"] for attempt in state["attempts"]] == [status, status, 200]
    assert state["status"] == "sent"
    first, *others = ear.several(3)
    assert all(other.body == first.body for other in others)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409, 422, 501, 505])
def test_any_other_status_ends_the_webhook(sink, ear: Ear, status):
    ear.statuses = [status]
    shown = finished(sink, start(sink, ear.url))
    assert (shown["data"][0]["status"], len(shown["data"][0]["attempts"])) == ("skipped", 1)


def test_it_gives_up_after_seventeen_retries(sink):
    tell(sink, "PUT", "/klaviyo-flow/settings", {"retry_base": 0})
    shown = finished(sink, start(sink, hook(sink, status=503)))
    assert (shown["data"][0]["status"], len(shown["data"][0]["attempts"])) == ("given_up", 18)
    assert tell(sink, "GET", "/received/count?name=flow")["count"] == 18


def test_no_answer_is_retried(sink):
    # One more than is seen: a connection that was kept and is closed at once is opened again for the same attempt.
    tell(sink, "POST", "/script/flow", [{"close": True}, {"reset": True}, {"close": True}])
    shown = finished(sink, start(sink, hook(sink)))
    attempts = shown["data"][0]["attempts"]
    *failed, last = attempts
    assert len(failed) in (2, 3)
    assert {(attempt["status"], attempt["error"]) for attempt in failed} == {
        (None, "the connection was closed before the response was complete")
    }
    assert (shown["data"][0]["status"], last["status"]) == ("sent", 200)


def test_retry_after_is_waited_for(sink):
    tell(sink, "POST", "/script/flow", [{"status": 429, "retry_after": "1"}])
    shown = finished(sink, start(sink, hook(sink)))
    first, second = shown["data"][0]["attempts"]
    assert (first["status"], first["retry_after"], second["status"]) == (429, "1", 200)
    # The clock may be set back a little in between.
    assert (seconds(second["at"]) - seconds(first["at"])) % 60 >= 0.9


def seconds(at: str) -> float:
    """The seconds within the minute of a time."""
    return float(at[17:-1])


def test_what_retry_after_means(monkeypatch):
    now = 1_790_000_000
    monkeypatch.setattr(clock, "now_us", lambda: now * clock.SECOND)
    for text, expected in (
        ("", 0),
        ("5", 5),
        ("9" * 40, 86_400),
        ("-3", 0),
        ("soon", 0),
        (formatdate(now + 90, usegmt=True), 90),
        (formatdate(now - 90, usegmt=True), 0),
        (formatdate(now + 10**6, usegmt=True), 86_400),
    ):
        assert read_retry_after({"retry-after": text}) == expected, text
    assert read_retry_after({}) == 0


def test_the_pauses_add_up_to_a_day():
    base, retries = FlowSettings().retry_base, FlowSettings().retries
    assert retries == 17
    assert 20 * 3600 < sum(base * 2**number for number in range(retries)) < 25 * 3600


def test_posts_begin_at_the_rate(sink):
    run = start(sink, hook(sink), *([INES] * 6), rate=20)
    shown = finished(sink, run)
    begun = [seconds(state["attempts"][0]["at"]) for state in shown["data"]]
    # The sixth begins a quarter of a second after the first; the minute may end in between.
    assert (begun[-1] - begun[0]) % 60 >= 0.2


def test_one_profile_that_cannot_be_rendered_stops_no_other(sink, ear: Ear):
    body = {"text": "{% for x in (1..person.n) %}{% for y in (1..person.n) %}.{% endfor %}{% endfor %}"}
    run = start(sink, ear.url, {"id": "a", "n": 3000}, {"id": "b", "n": 2}, template={"body": body})
    assert json.loads(ear.wait().body) == {"text": "...."}
    shown = finished(sink, run)
    assert shown["counts"] == {"not_rendered": 1, "sent": 1}
    assert shown["data"][0]["error"].startswith("body.text, line 1")


def test_klaviyo_shows_the_webhook_in_the_profile(sink, ear: Ear):
    ear.statuses = [503, 200, 400]
    finished(sink, start(sink, ear.url))
    finished(sink, start(sink, ear.url))
    (event,) = tell(sink, "GET", "/klaviyo/events?profile=01KINES")["data"]
    assert event["metric"] == "Webhook Send Successful"
    assert event["properties"] == {"Webhook URL": ear.url, "Status Code": 200}


def test_pages_and_what_is_shown_are_bounded(sink):
    template = {"body": {"text": "x" * 5000}}
    run = start(sink, hook(sink, size=5000), *([INES] * 5), template=template)
    finished(sink, run)
    page = finished(sink, run, "?limit=2")
    assert ([state["number"] for state in page["data"]], page["next"]) == ([1, 2], "2")
    rest = finished(sink, run, "?limit=5&after=2")
    assert ([state["number"] for state in rest["data"]], rest["next"]) == ([3, 4, 5], None)
    assert len(page["data"][0]["body"]) == SHOWN_BODY
    assert len(page["data"][0]["attempts"][0]["body"]) == SHOWN_ANSWER


def test_old_runs_are_forgotten(sink, monkeypatch, ear: Ear):
    monkeypatch.setattr(klaviyo_flow, "KEPT_PROFILES", 5)
    runs = [start(sink, ear.url, INES, INES) for _ in range(3)]
    status, _, told = ask(sink, "GET", f"/klaviyo-flow/runs/{runs[0]['id']}")
    assert (status, json.loads(told)["code"]) == (404, "unknown_run")
    assert finished(sink, runs[1])["counts"] == {"sent": 2}
    assert finished(sink, runs[2])["counts"] == {"sent": 2}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"template": {"method": "GET"}}, "invalid_run"),
        ({"template": {"headers": {"X-A": "a\nb"}}}, "invalid_run"),
        ({"template": {"headers": {"X A": "a"}}}, "invalid_run"),
        ({"template": {"colour": "red"}}, "invalid_run"),
        ({"rate": 0}, "invalid_run"),
        ({"template": {"url": "ftp://example.com"}}, "invalid_settings"),
        ({"template": {"body": '{"age": {{ person.age }}}'}}, "invalid_template"),
        ({"template": {"body": {"text": "{{ person.first_name | nonsense }}"}}}, "invalid_template"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(sink, changes, code):
    assert start(sink, hook(sink), status=400, **changes)["code"] == code


def test_a_run_needs_profiles(sink):
    given = {"template": {"url": hook(sink), "body": "{}"}, "profiles": []}
    status, _, told = ask(sink, "POST", "/klaviyo-flow/run", json.dumps(given).encode())
    assert (status, json.loads(told)["code"]) == (400, "invalid_run")
