"""A launch names everything that is missing at once, in the order in which a marketer sets it."""

import itertools
from typing import Any

import pytest

from waypost.clock import DAY, iso, now_us
from waypost.domain.campaigns.campaign import Audience, Definition, VariantTest
from waypost.domain.campaigns.launch import LaunchFacts, find_lacking, incomplete
from waypost.domain.campaigns.schedule import SendAt, SendLocal

NOW = now_us()
TOMORROW = SendLocal(at=iso(NOW + DAY)[:16])
LIST, TEMPLATE = "lst_0000000000000001", "tpl_0000000000000001"


def complete(**changes: Any) -> Definition:
    values: dict[str, Any] = {"template_id": TEMPLATE, "audience": Audience(lists=[LIST])}
    return Definition(**(values | changes))


def facts(**changes: Any) -> LaunchFacts:
    known: dict[str, Any] = {"template_channel": "email", "has_unsubscribe_link": True, "people": 2, "unknown": []}
    return LaunchFacts(**(known | {"connected": True} | changes))


def lacking(
    definition: Definition, known: LaunchFacts, channel: str = "email", of: str = "email"
) -> list[tuple[str, str]]:
    return [(one.code, one.field) for one in find_lacking(definition, channel, of, known, NOW)]


def test_nothing_is_missing():
    assert lacking(complete(), facts()) == []
    assert lacking(complete(), facts(template_channel="event", has_unsubscribe_link=False), "webhook", "event") == []
    assert lacking(complete(), facts(template_channel="sms", has_unsubscribe_link=False), "sms", "sms") == []
    assert lacking(complete(purpose="transactional"), facts(has_unsubscribe_link=False)) == []


@pytest.mark.parametrize(
    ("definition", "known", "code", "field"),
    [
        (complete(template_id=None), facts(template_channel=None), "no_template", "template_id"),
        (complete(), facts(template_channel=None), "unknown_template", "template_id"),
        (complete(), facts(template_channel="sms"), "wrong_channel", "template_id"),
        (complete(), facts(has_unsubscribe_link=False), "no_unsubscribe_link", "template_id"),
        (complete(audience=Audience()), facts(people=0), "no_audience", "audience"),
        (complete(), facts(people=0), "small_audience", "audience"),
        (complete(), facts(people=1), "small_audience", "audience"),
        (complete(), facts(unknown=[("exclude.lists", "x")], people=0), "unknown_audience", "exclude.lists"),
        (complete(), facts(connected=False), "no_connection", "connection_id"),
        (complete(), facts(connected=False, connection_problem="x"), "connection_not_ready", "connection_id"),
        (complete(schedule=SendAt(at="2020-01-01T00:00:00Z")), facts(), "invalid_schedule", "schedule.at"),
        (complete(schedule=TOMORROW, test=VariantTest(sample=0.1)), facts(), "test_at_local_time", "test"),
    ],
)
def test_one_thing_is_missing(definition: Definition, known: LaunchFacts, code: str, field: str):
    assert lacking(definition, known) == [(code, field)]


#: One fault of each group, and what it is called.
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "template": ({"template_id": None}, {"template_channel": None}, "no_template"),
    "audience": ({"audience": Audience()}, {"people": 0}, "no_audience"),
    "connection": ({}, {"connected": False}, "no_connection"),
    "schedule": ({"schedule": SendAt(at="2020-01-01T00:00:00Z")}, {}, "invalid_schedule"),
}


@pytest.mark.parametrize("names", [names for n in range(5) for names in itertools.combinations(FAULTS, n)])
def test_everything_that_is_missing_is_named(names: tuple[str, ...]):
    chosen = [FAULTS[name] for name in names]
    definition = complete(**{key: value for change, _, _ in chosen for key, value in change.items()})
    known = facts(**{key: value for _, change, _ in chosen for key, value in change.items()})
    assert [code for code, _ in lacking(definition, known)] == [code for _, _, code in chosen]


def test_the_error_names_everything():
    definition = complete(template_id=None, audience=Audience())
    missing = find_lacking(definition, "email", "email", facts(connected=False, people=0), NOW)
    error = incomplete(missing)
    assert error.code == "campaign_incomplete"
    assert error.extra["missing"] == missing
    assert all(one.detail in error.detail for one in missing)
    assert len(missing) == 3


def test_details_say_what_to_do():
    (one,) = find_lacking(complete(), "email", "email", facts(people=1), NOW)
    assert one.detail.startswith("The audience has one person; a campaign needs at least 2.")
    (one,) = find_lacking(complete(), "webhook", "event", facts(template_channel="sms"), NOW)
    assert one.detail == "The template is for sms, the campaign needs one for event."
