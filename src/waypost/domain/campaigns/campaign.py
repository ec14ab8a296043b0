"""Campaigns: what a marketer sets, and the states that a campaign goes through.

The states (`move` is the only function that changes one):

draft ──launch──▶ scheduled ──begin──▶ live ──finish──▶ finished
                    │   ▲               │ ▲
                    │   └────resume──┐  │ │
                    └──pause──▶ paused ◀┘ │
                                  └resume─┘
scheduled, live, paused ──cancel──▶ cancelled
scheduled ──unschedule──▶ draft
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from waypost.clock import DAY
from waypost.domain.campaigns.schedule import Schedule, SendLocal, SendNow, check_readable
from waypost.domain.messaging.request import LONGEST_VALIDITY_S
from waypost.domain.values.durations import parse_duration
from waypost.domain.values.ids import internal
from waypost.errors import Conflict, Invalid, NotFound

#: The kinds of resources that an audience is made of, and the prefixes of their ids.
PLACES = {"lists": "lst", "segments": "seg", "profiles": "pro"}
LONGEST_NAME = 100
MOST_PLACES = 100
MOST_PROFILES = 1000
#: The longest time after a person's turn in which an event counts as a conversion.
LONGEST_WINDOW = 90 * DAY

Ids = Annotated[list[str], Meta(max_length=MOST_PLACES)]
Duration = Annotated[str, Meta(max_length=12, description="A number and a unit: s, m, h, d or w.")]


class CampaignState(StrEnum):
    """The state of a campaign."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"  #: Launched; its first occurrence has not begun.
    LIVE = "live"  #: Sending, or waiting for the next occurrence of a recurrence.
    PAUSED = "paused"  #: Sends nothing until it is resumed.
    FINISHED = "finished"
    CANCELLED = "cancelled"  #: Ended by a user; who had not got it yet does not get it.


class CampaignAction(StrEnum):
    """What moves a campaign from one state to another."""

    LAUNCH = "launch"
    UNSCHEDULE = "unschedule"
    BEGIN = "begin"
    PAUSE = "pause"
    RESUME = "resume"
    FINISH = "finish"
    CANCEL = "cancel"


_MOVES = {
    (CampaignState.DRAFT, CampaignAction.LAUNCH): CampaignState.SCHEDULED,
    (CampaignState.SCHEDULED, CampaignAction.UNSCHEDULE): CampaignState.DRAFT,
    (CampaignState.SCHEDULED, CampaignAction.BEGIN): CampaignState.LIVE,
    (CampaignState.LIVE, CampaignAction.BEGIN): CampaignState.LIVE,
    (CampaignState.SCHEDULED, CampaignAction.PAUSE): CampaignState.PAUSED,
    (CampaignState.LIVE, CampaignAction.PAUSE): CampaignState.PAUSED,
    (CampaignState.LIVE, CampaignAction.FINISH): CampaignState.FINISHED,
    (CampaignState.SCHEDULED, CampaignAction.CANCEL): CampaignState.CANCELLED,
    (CampaignState.LIVE, CampaignAction.CANCEL): CampaignState.CANCELLED,
    (CampaignState.PAUSED, CampaignAction.CANCEL): CampaignState.CANCELLED,
}


class Audience(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A set of people: everybody in any of these lists and segments, and these profiles."""

    lists: Ids = []
    segments: Ids = []
    profiles: Annotated[list[str], Meta(max_length=MOST_PROFILES)] = []

    @property
    def empty(self) -> bool:
        """Whether it names nobody."""
        return not (self.lists or self.segments or self.profiles)

    def numbers(self, kind: str) -> list[int]:
        """Return the internal ids of its lists, segments or profiles."""
        return [internal(PLACES[kind], text) for text in getattr(self, kind)]


class Throttle(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The most messages in a minute, or in a second."""

    per_minute: Annotated[float, Meta(ge=0.1, le=6_000_000)] | None = None
    per_second: Annotated[float, Meta(ge=0.01, le=100_000)] | None = None

    @property
    def rate(self) -> float | None:
        """Messages per second; None for no limit."""
        rates = [self.per_second, None if self.per_minute is None else self.per_minute / 60]
        return min((rate for rate in rates if rate is not None), default=None)


class Conversion(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What counts as success: an event of the person within a time after the person's turn."""

    event: Annotated[str, Meta(min_length=1, max_length=200, description="A metric, such as `Order Completed`.")]
    within: Duration = "7d"


class VariantTest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Send all variants to a sample first, and the one that did best to everybody else."""

    sample: Annotated[float, Meta(gt=0, lt=1, description="The share of the audience that gets the variants first.")]
    winner_by: Literal["opens", "clicks", "conversions"] = "clicks"
    after: Duration = "4h"
    minimum: Annotated[
        int, Meta(ge=1, le=1_000_000, description="A variant that was sent to fewer people cannot win.")
    ] = 1


class CampaignUtm(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Parameters that links get if they lack them."""

    source: Annotated[str, Meta(max_length=200)] = ""
    medium: Annotated[str, Meta(max_length=200)] = ""
    campaign: Annotated[str, Meta(max_length=200)] = ""


class CampaignTracking(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Whether its emails have a pixel and links that are counted; what is not set is as the workspace has it."""

    opens: bool | None = None
    clicks: bool | None = None


class Definition(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a marketer sets of a campaign, besides its name and channel."""

    template_id: str | None = None
    audience: Audience = msgspec.field(default_factory=Audience)
    exclude: Audience = msgspec.field(default_factory=Audience)
    schedule: Schedule = msgspec.field(default_factory=SendNow)
    throttle: Throttle | None = None
    #: `promotional` or `transactional`.
    purpose: str = "promotional"
    #: The connection that sends it; without one, the order of the channel decides, and others take over.
    connection_id: str | None = None
    #: Values for the template.
    variables: dict[str, Any] = {}
    #: Seconds for which a message may be tried once its turn came.
    validity: Annotated[int, Meta(ge=5, le=LONGEST_VALIDITY_S)] | None = None
    conversion: Conversion | None = None
    #: The share of the audience that gets nothing, to measure what the campaign changes.
    holdout: Annotated[float, Meta(ge=0, le=0.9)] = 0.0
    test: VariantTest | None = None
    utm: CampaignUtm | None = None
    tracking: CampaignTracking | None = None

    @property
    def rate(self) -> float | None:
        """The most messages per second; None for no limit."""
        return None if self.throttle is None else self.throttle.rate


def move(state: CampaignState, action: CampaignAction, *, begun: bool = False) -> CampaignState:
    """Return the state after an action; raise Conflict (code `campaign_state`) if the state does not allow it.

    `begun` says whether an occurrence began, which decides where a paused campaign goes on.
    """
    if action is CampaignAction.RESUME and state is CampaignState.PAUSED:
        return CampaignState.LIVE if begun else CampaignState.SCHEDULED
    target = _MOVES.get((state, action))
    if target is None:
        allowed = sorted({a.value for s, a in _MOVES if s is state} - {"begin", "finish"})
        if state is CampaignState.PAUSED:
            allowed.append("resume")
        can = f"; it allows {', '.join(allowed)}" if allowed else ""
        raise Conflict(
            f"The campaign is {state.value}, which does not allow {action.value}{can}.", code="campaign_state"
        )
    return target


#: The fields of a definition that may change once a campaign is live, and once it is paused.
LIVE_FIELDS = frozenset({"throttle"})
PAUSED_FIELDS = frozenset({"throttle", "template_id", "variables", "connection_id", "validity"})


def check_change(state: CampaignState, fields: set[str], *, begun: bool) -> None:
    """Raise Conflict (code `campaign_not_editable`) if these fields of a definition may not change in this state."""
    if state in (CampaignState.FINISHED, CampaignState.CANCELLED):
        raise Conflict(
            f"The campaign is {state.value} and cannot change; create a new one.", code="campaign_not_editable"
        )
    if not begun and state is not CampaignState.LIVE:
        return
    allowed = PAUSED_FIELDS if state is CampaignState.PAUSED else LIVE_FIELDS
    if refused := sorted(fields - allowed):
        more = (
            ""
            if state is CampaignState.PAUSED
            else f" Pause it to change {', '.join(sorted(PAUSED_FIELDS - LIVE_FIELDS))}."
        )
        raise Conflict(
            f"The campaign has begun, so {', '.join(refused)} cannot change: some people have got it already. "
            f"Its {', '.join(sorted(allowed))} can.{more}",
            code="campaign_not_editable",
            field=refused[0],
        )


def check_definition(definition: Definition, channel: str) -> None:
    """Raise Invalid, with `field`, for a definition that no campaign of this channel can have."""
    for name, audience in (("audience", definition.audience), ("exclude", definition.exclude)):
        for kind, prefix in PLACES.items():
            for position, text in enumerate(getattr(audience, kind)):
                _check_id(prefix, text, f"{name}.{kind}[{position}]")
    if definition.template_id is not None:
        _check_id("tpl", definition.template_id, "template_id")
    if definition.connection_id is not None:
        _check_id("con", definition.connection_id, "connection_id")
    check_readable(definition.schedule)
    if definition.conversion is not None:
        within = parse_duration(definition.conversion.within, "conversion.within")
        if within > LONGEST_WINDOW:
            raise Invalid(
                f"conversion.within may be at most {LONGEST_WINDOW // DAY} days.",
                code="invalid_duration",
                field="conversion.within",
            )
    check_test(definition, channel)


def check_test(definition: Definition, channel: str) -> None:
    """Raise Invalid, with `field`, for a test of variants that a campaign of this channel cannot have."""
    test = definition.test
    if test is None:
        return
    parse_duration(test.after, "test.after")
    if test.winner_by == "opens" and channel != "email":
        raise Invalid(
            f"Only emails have opens; choose the winner of a campaign by {channel} by clicks or conversions.",
            code="invalid_campaign",
            field="test.winner_by",
        )
    if test.winner_by == "conversions" and definition.conversion is None:
        raise Invalid(
            "A winner by conversions needs `conversion`: the event that counts.",
            code="invalid_campaign",
            field="conversion",
        )
    if isinstance(definition.schedule, SendLocal):
        raise Invalid(
            "A campaign at a local time cannot have a `test`: the sample gets it over a day, and the winner would come "
            "at another time of day. Remove `test`, or choose another schedule.",
            code="test_at_local_time",
            field="test",
        )


def winning_variant(sent: dict[str, int], did: dict[str, int], minimum: int) -> str | None:
    """Return the variant with the highest rate of people who did what counts, of those whom it was sent to.

    Of equal rates, the first name wins. A variant that was sent to fewer people than `minimum`, or with which nobody
    did anything, cannot win; None if none can.
    """
    rates = {
        name: did.get(name, 0) / n for name, n in sorted(sent.items()) if n >= max(minimum, 1) and did.get(name, 0) > 0
    }
    return max(rates, key=rates.__getitem__, default=None)


def _check_id(prefix: str, text: str, field: str) -> None:
    try:
        internal(prefix, text)
    except NotFound as error:
        raise Invalid(error.detail, code="invalid_campaign", field=field) from error


def share_of(seed: int, purpose: str, profile_id: int) -> float:
    """Return a number in [0, 1) for a person: the same one after a crash, and on every node."""
    digest = hashlib.blake2b(f"{purpose}:{seed}:{profile_id}".encode(), digest_size=8).digest()
    return fraction(digest)


def fraction(digest: bytes) -> float:
    """Return eight bytes as a number in [0, 1)."""
    # Only as many bits as a float has: otherwise the largest numbers would be rounded to 1.
    return (int.from_bytes(digest) >> 11) / 2**53
