"""Which actions a campaign allows in which state, what may change then, and who gets what."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import DAY
from waypost.domain.campaigns.campaign import (
    LIVE_FIELDS,
    LONGEST_WINDOW,
    PAUSED_FIELDS,
    Audience,
    CampaignAction,
    CampaignState,
    Conversion,
    Definition,
    Throttle,
    VariantTest,
    check_change,
    check_definition,
    fraction,
    move,
    share_of,
    winning_variant,
)
from waypost.domain.campaigns.schedule import SendAgain, SendAt, SendLocal
from waypost.errors import Conflict, Invalid

DRAFT, SCHEDULED, LIVE, PAUSED, FINISHED, CANCELLED = CampaignState
LAUNCH, UNSCHEDULE, BEGIN, PAUSE, RESUME, FINISH, CANCEL = CampaignAction

#: Every move that is allowed, whether an occurrence began or not.
MOVES = {
    (DRAFT, LAUNCH): SCHEDULED,
    (SCHEDULED, UNSCHEDULE): DRAFT,
    (SCHEDULED, BEGIN): LIVE,
    (SCHEDULED, PAUSE): PAUSED,
    (SCHEDULED, CANCEL): CANCELLED,
    (LIVE, BEGIN): LIVE,
    (LIVE, PAUSE): PAUSED,
    (LIVE, FINISH): FINISHED,
    (LIVE, CANCEL): CANCELLED,
    (PAUSED, CANCEL): CANCELLED,
}
FIELDS = frozenset(Definition.__struct_fields__)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(("state", "action"), [*itertools.product(CampaignState, CampaignAction)])
def test_every_move(state: CampaignState, action: CampaignAction, begun: bool):
    expected = MOVES.get((state, action))
    if (state, action) == (PAUSED, RESUME):
        expected = LIVE if begun else SCHEDULED
    if expected is not None:
        assert move(state, action, begun=begun) is expected
        return
    with pytest.raises(Conflict) as raised:
        move(state, action, begun=begun)
    assert raised.value.code == "campaign_state"
    assert f"The campaign is {state.value}, which does not allow {action.value}" in raised.value.detail


@pytest.mark.parametrize(
    ("state", "action", "allowed"),
    [
        (DRAFT, PAUSE, "; it allows launch."),
        (SCHEDULED, LAUNCH, "; it allows cancel, pause, unschedule."),
        (LIVE, LAUNCH, "; it allows cancel, pause."),
        (PAUSED, LAUNCH, "; it allows cancel, resume."),
        (FINISHED, CANCEL, "does not allow cancel."),
        (CANCELLED, RESUME, "does not allow resume."),
    ],
)
def test_a_refusal_names_what_a_user_may_do(state: CampaignState, action: CampaignAction, allowed: str):
    with pytest.raises(Conflict) as raised:
        move(state, action)
    assert raised.value.detail.endswith(allowed)


def test_every_campaign_can_end():
    for state in set(CampaignState) - {FINISHED, CANCELLED, DRAFT}:
        assert move(state, CANCEL) is CANCELLED
    for state, action in itertools.product((FINISHED, CANCELLED), CampaignAction):
        with pytest.raises(Conflict):
            move(state, action)


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize(("state", "begun"), [*itertools.product(CampaignState, [False, True])])
def test_every_change_of_every_field(state: CampaignState, begun: bool, field: str):
    if state in (FINISHED, CANCELLED):
        allowed: frozenset[str] = frozenset()
    elif state is PAUSED and begun:
        allowed = PAUSED_FIELDS
    elif state is LIVE or begun:
        allowed = LIVE_FIELDS
    else:
        allowed = FIELDS
    if field in allowed:
        check_change(state, {field}, begun=begun)
        return
    with pytest.raises(Conflict) as raised:
        check_change(state, {field}, begun=begun)
    assert raised.value.code == "campaign_not_editable"


def test_a_refused_change_says_what_can_change():
    with pytest.raises(Conflict) as raised:
        check_change(LIVE, {"throttle", "variables", "audience"}, begun=True)
    assert raised.value.extra == {"field": "audience"}
    assert "audience, variables cannot change" in raised.value.detail
    assert "Pause it to change connection_id, template_id, validity, variables." in raised.value.detail
    with pytest.raises(Conflict) as raised:
        check_change(PAUSED, {"schedule"}, begun=True)
    assert "Pause it" not in raised.value.detail
    with pytest.raises(Conflict) as raised:
        check_change(FINISHED, set(), begun=True)
    assert "create a new one" in raised.value.detail


def test_what_may_change_later_are_fields():
    assert LIVE_FIELDS < PAUSED_FIELDS < FIELDS


LIST, SEGMENT, PROFILE = "lst_0000000000000001", "seg_0000000000000002", "pro_0000000000000003"


@pytest.mark.parametrize(
    ("channel", "definition"),
    [
        ("email", Definition()),
        ("email", Definition(audience=Audience(lists=[LIST], segments=[SEGMENT], profiles=[PROFILE]))),
        ("email", Definition(test=VariantTest(sample=0.1, winner_by="opens"))),
        ("sms", Definition(test=VariantTest(sample=0.1, winner_by="clicks"))),
        (
            "webhook",
            Definition(
                test=VariantTest(sample=0.1, winner_by="conversions"),
                conversion=Conversion(event="Order", within="90d"),
            ),
        ),
        ("sms", Definition(schedule=SendAt(at="2020-01-01T00:00:00Z"))),
    ],
)
def test_definitions(channel: str, definition: Definition):
    check_definition(definition, channel)


@pytest.mark.parametrize(
    ("channel", "definition", "field"),
    [
        ("email", Definition(audience=Audience(lists=[LIST, SEGMENT])), "audience.lists[1]"),
        ("email", Definition(audience=Audience(segments=[LIST])), "audience.segments[0]"),
        ("email", Definition(audience=Audience(profiles=["pro_1"])), "audience.profiles[0]"),
        ("email", Definition(audience=Audience(lists=["lst_ffffffffffffffff"])), "audience.lists[0]"),
        ("email", Definition(exclude=Audience(lists=[""])), "exclude.lists[0]"),
        ("email", Definition(exclude=Audience(profiles=["x" * 5000])), "exclude.profiles[0]"),
        ("email", Definition(template_id="con_0000000000000001"), "template_id"),
        ("email", Definition(connection_id="tpl_0000000000000001"), "connection_id"),
        ("sms", Definition(test=VariantTest(sample=0.1, winner_by="opens")), "test.winner_by"),
        ("webhook", Definition(test=VariantTest(sample=0.1, winner_by="opens")), "test.winner_by"),
        ("sms", Definition(test=VariantTest(sample=0.1, winner_by="conversions")), "conversion"),
        ("sms", Definition(test=VariantTest(sample=0.1, after="soon")), "test.after"),
        ("sms", Definition(test=VariantTest(sample=0.1), schedule=SendLocal(at="2026-12-01T09:00")), "test"),
        ("sms", Definition(conversion=Conversion(event="Order", within="7")), "conversion.within"),
        ("sms", Definition(conversion=Conversion(event="Order", within="91d")), "conversion.within"),
        ("sms", Definition(schedule=SendAt(at="tomorrow")), "schedule.at"),
        ("sms", Definition(schedule=SendLocal(at="2026-12-01T09:00:00Z")), "schedule.at"),
        ("sms", Definition(schedule=SendAgain(every="day", at="29:00")), "schedule.at"),
        ("sms", Definition(schedule=SendAgain(every="day", at="09:00", timezone="Mars")), "schedule.timezone"),
    ],
)
def test_definitions_that_no_campaign_can_have(channel: str, definition: Definition, field: str):
    with pytest.raises(Invalid) as raised:
        check_definition(definition, channel)
    assert raised.value.extra["field"] == field
    assert len(raised.value.detail) < 300


def test_a_window_is_as_long_as_goals_are_kept():
    assert LONGEST_WINDOW == 90 * DAY


@pytest.mark.parametrize(
    ("throttle", "rate"),
    [
        (Throttle(), None),
        (Throttle(per_minute=600), 10),
        (Throttle(per_second=5), 5),
        (Throttle(per_minute=600, per_second=5), 5),
        (Throttle(per_minute=60, per_second=5), 1),
    ],
)
def test_rates(throttle: Throttle, rate: float | None):
    assert throttle.rate == rate


@pytest.mark.parametrize(
    "body",
    [
        {"throttle": {"per_minute": 0}},
        {"throttle": {"per_minute": 1e-300}},
        {"throttle": {"per_second": -1}},
        {"throttle": {"per_hour": 5}},
        {"holdout": 1},
        {"holdout": -0.1},
        {"test": {"sample": 0}},
        {"test": {"sample": 1}},
        {"test": {"sample": 0.1, "winner_by": "clicks\n"}},
        {"schedule": {"kind": "recurring", "every": "day\n", "at": "09:00"}},
        {"schedule": {"kind": "recurring", "every": "day", "at": "09:00", "interval": 0}},
        {"schedule": {"kind": "recurring", "every": "day", "at": "09:00", "day": 32}},
        {"schedule": {"kind": "recurring", "every": "week", "at": "09:00", "weekdays": ["Monday"]}},
        {"schedule": {"kind": "sometimes"}},
        {"schedule": {"at": "2026-12-01T09:00:00Z"}},
        {"audience": {"lists": [LIST] * 101}},
        {"audience": {"tags": ["vip"]}},
        {"conversion": {"event": ""}},
        {"validity": 4},
        {"surprise": 1},
    ],
)
def test_fields_have_limits(body: dict[str, object]):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, Definition)


def test_a_definition_is_stored_and_read_as_it_is():
    definition = Definition(
        template_id="tpl_0000000000000001",
        audience=Audience(lists=[LIST]),
        schedule=SendAgain(every="week", at="09:00", weekdays=["mon", "fri"]),
        throttle=Throttle(per_minute=100),
        holdout=0.1,
    )
    assert msgspec.json.decode(msgspec.json.encode(definition), type=Definition) == definition


def test_audiences():
    audience = Audience(lists=[LIST], segments=[SEGMENT])
    assert not audience.empty
    assert (audience.numbers("lists"), audience.numbers("segments"), audience.numbers("profiles")) == ([1], [2], [])
    assert Audience().empty
    assert not Audience(profiles=[PROFILE]).empty


keys = st.integers(0, (1 << 63) - 1)


@given(keys, st.text(max_size=10), keys)
def test_a_share_is_the_same_number_every_time(seed: int, purpose: str, profile_id: int):
    share = share_of(seed, purpose, profile_id)
    assert 0 <= share < 1
    assert share_of(seed, purpose, profile_id) == share


def test_a_share_is_never_one():
    assert fraction(b"\xff" * 8) < 1
    assert fraction(bytes(8)) == 0


def test_shares_do_not_change_between_versions():
    """A campaign goes on after an upgrade: the people of its holdout stay the same ones."""
    assert [round(share_of(1, "holdout", n), 4) for n in range(3)] == [0.2988, 0.9646, 0.887]


def test_shares_are_spread_evenly_and_independently():
    n = 20_000
    shares = [share_of(7, "holdout", profile) for profile in range(n)]
    for tenth in range(10):
        assert abs(sum(tenth / 10 <= share < (tenth + 1) / 10 for share in shares) - n / 10) < 200
    for other in (
        [share_of(7, "variant", profile) for profile in range(n)],
        [share_of(8, "holdout", profile) for profile in range(n)],
    ):
        both = sum(a < 0.5 and b < 0.5 for a, b in zip(shares, other, strict=True))
        assert abs(both - n / 4) < 300


@pytest.mark.parametrize(
    ("sent", "did", "minimum", "winner"),
    [
        ({"a": 100, "b": 100}, {"a": 3, "b": 4}, 1, "b"),
        ({"a": 10, "b": 100}, {"a": 3, "b": 4}, 1, "a"),
        ({"a": 10, "b": 100}, {"a": 3, "b": 4}, 11, "b"),
        ({"b": 30, "a": 90}, {"b": 1, "a": 3}, 5, "a"),
        ({"a": 10, "b": 10}, {}, 1, None),
        ({"a": 10, "b": 10}, {"a": 0}, 1, None),
        ({"a": 10, "b": 10}, {"a": 9}, 11, None),
        ({}, {"a": 1}, 1, None),
        ({"a": 10}, {"a": 1, "gone": 5}, 1, "a"),
    ],
)
def test_the_variant_with_the_highest_rate_wins(
    sent: dict[str, int], did: dict[str, int], minimum: int, winner: str | None
) -> None:
    assert winning_variant(sent, did, minimum) == winner
