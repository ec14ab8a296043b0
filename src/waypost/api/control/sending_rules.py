"""Sending rules: quiet hours and frequency caps of a workspace."""

from typing import Annotated, Literal

import msgspec
from litestar import get, put
from litestar.di import NamedDependency
from msgspec import Meta

from waypost.api.control.calls import Call, permit
from waypost.clock import DAY, MINUTE, iso
from waypost.domain.messaging.frequency_caps import Calendar
from waypost.domain.messaging.quiet_hours import DAYS, MOST_JITTER, QuietWindow, free_minutes
from waypost.domain.messaging.sending_rules import FrequencyCap, Purpose, QuietHours, RuleAction, SendingRules
from waypost.domain.values.durations import UNITS, duration_of
from waypost.domain.values.timezones import find_zone
from waypost.engine.messaging.sending_rules import load_rules, save_rules
from waypost.errors import Conflict, Invalid

#: The most rules of each kind, and the highest limit of a cap.
MOST_QUIET_HOURS, MOST_CAPS, HIGHEST_LIMIT = 20, 10, 100
#: The longest rolling period of a cap, and the longest time for which a message is held.
LONGEST_WITHIN, LONGEST_HOLD = 31 * DAY, 14 * DAY

Duration = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,4})[mhd]$")]
LocalTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ChannelName = Literal["sms", "email", "event"]
MaxHold = Annotated[
    Duration,
    Meta(
        description="For `hold`: the longest time from when a message is first held; then it fails with the code 2016."
    ),
]


class QuietHoursRule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}):
    """A window of local time in which messages are held or skipped. It may cross midnight."""

    channel: Annotated[ChannelName | None, Meta(description="If null, all channels.")] = None
    from_: Annotated[LocalTime, Meta(description="The local time at which the window begins.")]
    to: Annotated[
        LocalTime, Meta(description="The local time at which it ends: on the next day if it is not after `from`.")
    ]
    days: (
        Annotated[
            list[Weekday],
            Meta(min_length=1, max_length=7, description="The days on which it begins. All days unless given."),
        ]
        | None
    ) = None
    purpose: Annotated[Purpose, Meta(description="With `any`, it applies to transactional messages too.")] = (
        Purpose.PROMOTIONAL
    )
    action: RuleAction = RuleAction.HOLD
    max_hold: MaxHold = "24h"
    jitter: Annotated[
        Duration, Meta(description="For `hold`: messages are sent spread over this time after the window, at most 15m.")
    ] = "15m"


class FrequencyCapRule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The most messages that a person gets in a time. It has `within` or `per`, and not both."""

    channel: Annotated[ChannelName | None, Meta(description="If null, the messages of all channels together.")] = None
    limit: Annotated[int, Meta(ge=1, le=HIGHEST_LIMIT)]
    within: Annotated[Duration, Meta(description="A rolling period, such as `24h` or `7d`.")] | None = None
    per: Annotated[
        Calendar | None, Meta(description="A calendar day, or a week from Monday, in the person's time zone.")
    ] = None
    purpose: Annotated[
        Purpose, Meta(description="With `any`, it applies to transactional messages too, and counts them.")
    ] = Purpose.PROMOTIONAL
    action: RuleAction = RuleAction.SKIP
    max_hold: MaxHold = "24h"


class SetSendingRules(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The sending rules of a workspace. Rules that are left out are removed."""

    timezone: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=100,
                description="The `time_zone` of the workspace, for people of whom none is known. Left out, it stays.",
            ),
        ]
        | None
    ) = None
    quiet_hours: Annotated[list[QuietHoursRule], Meta(max_length=MOST_QUIET_HOURS)] = []
    frequency_caps: Annotated[list[FrequencyCapRule], Meta(max_length=MOST_CAPS)] = []
    version: (
        Annotated[int, Meta(ge=0, description="If given, the rules are set only if this is still their version.")]
        | None
    ) = None


class SendingRulesDetail(msgspec.Struct, kw_only=True):
    """The sending rules of a workspace, with their version and who changed them last."""

    #: The time zone of the workspace.
    timezone: str
    quiet_hours: list[QuietHoursRule]
    frequency_caps: list[FrequencyCapRule]
    #: 0 as long as they were never set.
    version: int
    updated_at: str | None
    #: The API key or the user that changed them last.
    updated_by: str | None


@get("/v1/sending-rules", summary="Get the sending rules")
async def get_sending_rules(call: NamedDependency[Call]) -> SendingRulesDetail:
    """Returns the quiet hours and frequency caps of the workspace."""
    return _view(*await call.read(load_rules, call.workspace_id))


@put("/v1/sending-rules", summary="Set the sending rules", opt={"body": SetSendingRules})
async def set_sending_rules(call: NamedDependency[Call]) -> SendingRulesDetail:
    """Sets the quiet hours and frequency caps. Messages that are held are checked again when they are due."""
    given = await call.body(SetSendingRules)
    rules = _read(given)
    saved = await call.transact(
        save_rules, call.workspace_id, rules, call.caller.id, call.now, given.version, given.timezone
    )
    if not saved:
        raise Conflict(
            "The sending rules were changed since this version. Get them, and set them with their new version.",
            code="version_changed",
        )
    await call.refresh()
    return _view(*await call.read(load_rules, call.workspace_id))


def _read(given: SetSendingRules) -> SendingRules:
    if given.timezone is not None and find_zone(given.timezone) is None:
        raise Invalid(
            f"{given.timezone[:80]!r} is not a time zone. Use a name of the IANA database, such as Europe/Berlin.",
            code="invalid_timezone",
            field="timezone",
        )
    rules = SendingRules(
        quiet_hours=tuple(_quiet_hours(rule, f"quiet_hours[{n}]") for n, rule in enumerate(given.quiet_hours)),
        frequency_caps=tuple(_cap(rule, f"frequency_caps[{n}]") for n, rule in enumerate(given.frequency_caps)),
    )
    for channel in ("sms", "email", "event"):
        windows = [rule.window for rule in rules.quiet_hours if rule.channel in (None, channel)]
        if not free_minutes(windows):
            raise _invalid(
                f"The quiet hours leave no minute of the week for messages of the channel {channel}. Shorten one.",
                "quiet_hours",
            )
    return rules


def _quiet_hours(rule: QuietHoursRule, field: str) -> QuietHours:
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (rule.from_, rule.to))
    return QuietHours(
        channel=rule.channel,
        purpose=rule.purpose,
        action=rule.action,
        max_hold=_duration(rule.max_hold, f"{field}.max_hold", MINUTE, LONGEST_HOLD),
        window=QuietWindow(start, end, tuple(sorted({DAYS.index(day) for day in rule.days or DAYS}))),
        jitter=_duration(rule.jitter, f"{field}.jitter", 0, MOST_JITTER),
    )


def _cap(rule: FrequencyCapRule, field: str) -> FrequencyCap:
    if (rule.within is None) == (rule.per is None):
        raise _invalid("A frequency cap has either `within` or `per`.", f"{field}.within")
    return FrequencyCap(
        channel=rule.channel,
        purpose=rule.purpose,
        action=rule.action,
        max_hold=_duration(rule.max_hold, f"{field}.max_hold", MINUTE, LONGEST_HOLD),
        limit=rule.limit,
        within=None if rule.within is None else _duration(rule.within, f"{field}.within", MINUTE, LONGEST_WITHIN),
        per=rule.per,
    )


def _duration(text: str, field: str, least: int, most: int) -> int:
    value = duration_of(text) or 0
    if not least <= value <= most:
        raise _invalid(f"`{field}` must be from {_text(least)} to {_text(most)}.", field)
    return value


def _text(value: int) -> str:
    """Return a duration in the largest unit that divides it."""
    unit = next(unit for unit in ("d", "h", "m") if value % UNITS[unit] == 0 and (value or unit == "m"))
    return f"{value // UNITS[unit]}{unit}"


def _invalid(detail: str, field: str) -> Invalid:
    return Invalid(detail, code="invalid_sending_rules", field=field)


def _view(rules: SendingRules, version: int, updated_at: int | None, updated_by: str | None) -> SendingRulesDetail:
    return SendingRulesDetail(
        timezone=rules.timezone,
        quiet_hours=[
            QuietHoursRule(
                channel=rule.channel,  # type: ignore[arg-type]
                from_=_wall(rule.window.start),
                to=_wall(rule.window.end),
                days=[DAYS[day] for day in rule.window.days],  # type: ignore[misc]
                purpose=rule.purpose,
                action=rule.action,
                max_hold=_text(rule.max_hold),
                jitter=_text(rule.jitter),
            )
            for rule in rules.quiet_hours
        ],
        frequency_caps=[
            FrequencyCapRule(
                channel=rule.channel,  # type: ignore[arg-type]
                limit=rule.limit,
                within=None if rule.within is None else _text(rule.within),
                per=rule.per,
                purpose=rule.purpose,
                action=rule.action,
                max_hold=_text(rule.max_hold),
            )
            for rule in rules.frequency_caps
        ],
        version=version,
        updated_at=None if updated_at is None else iso(updated_at),
        updated_by=updated_by,
    )


def _wall(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


ROUTES = permit("settings", [get_sending_rules, set_sending_rules])
