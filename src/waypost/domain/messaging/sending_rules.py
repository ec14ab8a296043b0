"""The sending rules of a workspace, and what they decide about a message just before it is sent."""

from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from waypost.clock import DAY
from waypost.domain.messaging.failure_codes import QUEUE_EXPIRED
from waypost.domain.messaging.frequency_caps import (
    LONGEST_PERIOD,
    Calendar,
    RecentSend,
    allowed_again,
)
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.quiet_hours import MOST_JITTER, QuietWindow, jittered, next_allowed
from waypost.domain.messaging.status import Transition
from waypost.domain.values.timezones import UTC_ZONE

#: The reasons of messages that a rule holds, skips, or lets fail.
QUIET_HOURS = "quiet_hours"
FREQUENCY_CAP = "frequency_cap"
#: The bits of the exemptions of a message.
EXEMPT_FROM_QUIET_HOURS = 1
EXEMPT_FROM_FREQUENCY_CAPS = 2


class Purpose(StrEnum):
    """The messages that a rule applies to, by their purpose."""

    PROMOTIONAL = "promotional"  #: Promotional messages; transactional ones pass and do not count.
    ANY = "any"  #: All messages.


class RuleAction(StrEnum):
    """What becomes of a message that a rule does not let pass."""

    HOLD = "hold"  #: It is sent when the rule lets it pass, and fails with the code 2016 if that takes too long.
    SKIP = "skip"  #: It is not sent.


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What quiet hours and frequency caps have in common."""

    #: The channel, or None for all.
    channel: str | None = None
    purpose: Purpose = Purpose.PROMOTIONAL
    action: RuleAction
    #: The longest time for which a message is held, from when it was first held, in microseconds.
    max_hold: int = DAY

    def covers(self, channel: str, purpose: str) -> bool:
        """Return whether the rule applies to messages of this channel and purpose."""
        return (self.channel is None or self.channel == channel) and (
            self.purpose is Purpose.ANY or self.purpose == purpose
        )


class QuietHours(Rule, frozen=True, kw_only=True):
    """A window of local time in which messages are held or skipped."""

    window: QuietWindow
    action: RuleAction = RuleAction.HOLD
    #: After the window, messages are sent within this time, in microseconds, and not all at once.
    jitter: int = MOST_JITTER


class FrequencyCap(Rule, frozen=True, kw_only=True):
    """The most messages that a person gets in a time: a rolling one (`within`) or a calendar period (`per`)."""

    limit: int
    action: RuleAction = RuleAction.SKIP
    #: In microseconds, or None.
    within: int | None = None
    per: Calendar | None = None

    @property
    def period(self) -> int:
        """The longest time for which a send may count."""
        return self.within if self.within is not None else LONGEST_PERIOD[self.per or Calendar.WEEK]


class SendingRules(msgspec.Struct, frozen=True, kw_only=True):
    """The sending rules of a workspace."""

    #: The time zone of the workspace: that of people of whom none is known. It is a setting of the workspace.
    timezone: str = "UTC"
    quiet_hours: tuple[QuietHours, ...] = ()
    frequency_caps: tuple[FrequencyCap, ...] = ()


class RuledMessage(msgspec.Struct):
    """A message about which sending rules decide."""

    id: int
    channel: str
    purpose: str
    #: When a rule first held it, or None.
    held_at: int | None = None
    exempt: int = 0
    #: The time zone of its person.
    zone: ZoneInfo = UTC_ZONE


def quiet_rules(rules: SendingRules, message: RuledMessage) -> list[QuietHours]:
    """Return the quiet hours that apply to a message."""
    if message.exempt & EXEMPT_FROM_QUIET_HOURS:
        return []
    return [rule for rule in rules.quiet_hours if rule.covers(message.channel, message.purpose)]


def cap_rules(rules: SendingRules, message: RuledMessage) -> list[FrequencyCap]:
    """Return the frequency caps that apply to a message."""
    if message.exempt & EXEMPT_FROM_FREQUENCY_CAPS:
        return []
    return [rule for rule in rules.frequency_caps if rule.covers(message.channel, message.purpose)]


def check_quiet_hours(rules: SendingRules, message: RuledMessage, now: int, chance: float) -> Transition | None:
    """Return the transition of a message that quiet hours do not let pass now, or None. `chance` is its jitter."""
    closed = [rule for rule in quiet_rules(rules, message) if next_allowed((rule.window,), message.zone, now) > now]
    if not closed:
        return None
    # One window may begin where another one ends.
    windows = tuple(rule.window for rule in quiet_rules(rules, message) if rule.action is RuleAction.HOLD)
    end = next_allowed(windows, message.zone, now)
    spread = int(chance * max(rule.jitter for rule in closed))
    return _refuse(closed, message, now, jittered(windows, message.zone, end, spread), QUIET_HOURS)


def check_caps(
    rules: SendingRules, message: RuledMessage, sends: list[RecentSend], now: int, chance: float
) -> Transition | None:
    """Return the transition of a message that frequency caps do not let pass now, or None.

    `sends` are what its person was sent lately, in order. `chance` spreads what is held until a calendar period ends.
    """
    reached: list[FrequencyCap] = []
    until = now
    for rule in cap_rules(rules, message):
        times = [send.at for send in sends if send.message_id != message.id and rule.covers(send.channel, send.purpose)]
        again = allowed_again(times, rule.limit, rule.within, rule.per, message.zone, now)
        if again is not None:
            reached.append(rule)
            until = max(until, again if rule.per is None else again + int(chance * MOST_JITTER))
    return _refuse(reached, message, now, until, FREQUENCY_CAP) if reached else None


R = TypeVar("R", bound=Rule)


def _refuse(rules: list[R], message: RuledMessage, now: int, until: int, reason: str) -> Transition:
    """Return the transition of a message that these rules do not let pass before `until`."""
    if any(rule.action is RuleAction.SKIP for rule in rules):
        return Transition(status=Status.SKIPPED, at=now, reason=reason)
    deadline = (now if message.held_at is None else message.held_at) + min(rule.max_hold for rule in rules)
    if deadline <= now:
        return Transition(status=Status.FAILED, at=now, code=QUEUE_EXPIRED, reason=reason)
    # At the deadline the rules are asked once more: they may have changed.
    return Transition(status=Status.HELD, at=now, reason=reason, due_at=min(until, deadline))


def counted_until(rules: SendingRules, send: RecentSend) -> int:
    """Return when no frequency cap counts a send any more; its own time if none counts it."""
    periods = [rule.period for rule in rules.frequency_caps if rule.covers(send.channel, send.purpose)]
    return send.at + max(periods, default=0)


def still_counted(rules: SendingRules, sends: list[RecentSend], now: int) -> list[RecentSend]:
    """Return the sends that a frequency cap may count from now on, in order."""
    return [send for send in sends if counted_until(rules, send) > now]
