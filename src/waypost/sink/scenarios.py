"""Scenarios: the result of each message, by configured rates and delays or by special addresses."""

import functools
import hashlib
import struct
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from waypost.errors import Invalid, NotFound

Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Weight = Annotated[float, Meta(ge=0, le=1e9)]

#: A phone number that ends in these digits and two more has the scenario of those two (SPECIAL).
MARK = "55500"
#: An email address or user name with this prefix has the scenario named by the letters up to @ or +.
EMAIL_MARK = "fate-"
#: The most addresses stored for scenarios that differ the second time; then all are dropped.
REMEMBERED = 100_000


class Reply(StrEnum):
    """The response for a message; each provider has its own format for it."""

    ACCEPTED = "accepted"  #: The provider accepts the message.
    INVALID = "invalid"  #: The address is not valid; nothing is sent.
    REJECTED = "rejected"  #: Rejected permanently for another reason.
    OPTED_OUT = "opted_out"  #: The person has opted out.
    THROTTLED = "throttled"  #: Too many requests; retry later.
    TEMPORARY = "temporary"  #: Temporary error; retry later.
    UNKNOWN = "unknown"  #: The provider does not know the result.
    DUPLICATE = "duplicate"  #: The provider already has this message.
    ERROR = "error"  #: The whole call fails with `error_status`; nothing is accepted.
    LOST = "lost"  #: The call is accepted, but the connection closes without a response.
    HANG = "hang"  #: The call is accepted, but gets no response.


class Scenario(msgspec.Struct, frozen=True):
    """The result of one message."""

    word: str
    reply: Reply
    #: The receipts, in the order in which they are sent. A provider omits those it does not have.
    steps: tuple[str, ...] = ()
    #: Seconds from the response to the first receipt.
    delay: float = 0.0


def _accepted(*steps: str) -> tuple[Reply, tuple[str, ...]]:
    return Reply.ACCEPTED, steps


#: Every scenario by name: the response, and the receipts after it.
SCENARIOS: dict[str, tuple[Reply, tuple[str, ...]]] = {
    "delivered": _accepted("queued", "delivered"),
    "invalid": _accepted("queued", "invalid"),
    "unreachable": _accepted("queued", "unreachable"),
    "carrier_blocked": _accepted("queued", "carrier_blocked"),
    "opted_out": (Reply.OPTED_OUT, ()),
    "throttled": (Reply.THROTTLED, ()),
    "temporary": (Reply.TEMPORARY, ()),
    "unknown_failure": (Reply.UNKNOWN, ()),
    "spam": _accepted("queued", "spam"),
    "duplicate": (Reply.DUPLICATE, ()),
    "malformed": (Reply.INVALID, ()),
    "rejected": (Reply.REJECTED, ()),
    "throttled_once": (Reply.THROTTLED, ()),
    "temporary_once": (Reply.TEMPORARY, ()),
    "error": (Reply.ERROR, ()),
    "error_once": (Reply.ERROR, ()),
    "lost_answer": (Reply.LOST, ("queued", "delivered")),
    "no_answer": (Reply.HANG, ("queued", "delivered")),
    "carrier_unreachable": _accepted("queued", "carrier_unreachable"),
    "blocked": _accepted("queued", "blocked"),
    "invalid_message": _accepted("queued", "invalid_message"),
    "expired": _accepted("queued", "expired"),
    "max_price": _accepted("queued", "max_price"),
    "opted_out_later": _accepted("queued", "opted_out"),
    "unknown": _accepted("queued", "unknown"),
    "novel": _accepted("queued", "novel"),
    "sent": _accepted("queued", "sent"),
    "stopped": _accepted("queued", "delivered", "stop"),
    "silent": _accepted(),
    "queued": _accepted("queued"),
    "repeated": _accepted("queued", "delivered", "queued", "delivered"),
    "reordered": _accepted("delivered", "sent", "queued"),
    "delivered_then_failed": _accepted("queued", "delivered", "unreachable"),
    "failed_then_delivered": _accepted("queued", "unreachable", "delivered"),
    "bounced": _accepted("queued", "bounced"),
    "dropped": _accepted("dropped"),
    "deferred": _accepted("queued", "deferred", "delivered"),
    "opened": _accepted("queued", "delivered", "opened"),
    "machine_opened": _accepted("queued", "delivered", "machine_opened"),
    "clicked": _accepted("queued", "delivered", "opened", "clicked"),
    "complained": _accepted("queued", "delivered", "complained"),
    "unsubscribed": _accepted("queued", "delivered", "unsubscribed"),
}
#: Scenarios by the two digits after MARK at the end of a phone number.
SPECIAL: dict[str, str] = {
    "01": "invalid",
    "02": "unreachable",
    "03": "carrier_blocked",
    "04": "opted_out",
    "05": "throttled",
    "06": "temporary",
    "07": "unknown_failure",
    "08": "spam",
    "09": "duplicate",
    "10": "malformed",
    "11": "rejected",
    "12": "throttled_once",
    "13": "temporary_once",
    "14": "lost_answer",
    "15": "no_answer",
    "16": "error",
    "17": "error_once",
    "20": "carrier_unreachable",
    "21": "blocked",
    "22": "invalid_message",
    "23": "expired",
    "24": "max_price",
    "25": "opted_out_later",
    "26": "unknown",
    "27": "novel",
    "28": "sent",
    "29": "stopped",
    "30": "silent",
    "31": "repeated",
    "32": "reordered",
    "33": "delivered_then_failed",
    "34": "failed_then_delivered",
    "35": "queued",
}
#: Scenarios that succeed the second time.
ONCE = frozenset(word for word in SCENARIOS if word.endswith("_once"))
#: Steps before all others, with their times.
BEGINNINGS = {"queued": 0, "sent": 1}
#: The scenarios chosen evenly for `failure_rate`, unless a provider has its own.
FAILURES = ("unreachable", "carrier_blocked", "invalid", "spam", "unknown")


class ScenarioSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scenario settings of one provider."""

    #: With the same seed the n-th message has the same scenario again.
    seed: str = ""
    #: Seconds before each response.
    latency: Seconds = 0.0
    #: The share of calls that fail with `error_status`; nothing is accepted.
    error_rate: Share = 0.0
    error_status: Annotated[int, Meta(ge=400, le=599)] = 500
    #: The share of calls that are accepted but get no response: the connection closes.
    lost_answer_rate: Share = 0.0
    #: The seconds to wait in throttling responses, for providers that send them.
    retry_after: Annotated[int, Meta(ge=0, le=86_400)] = 0
    #: Shares of messages with these responses.
    throttle_rate: Share = 0.0
    temporary_rate: Share = 0.0
    refuse_rate: Share = 0.0
    #: The share of accepted messages that fail later.
    failure_rate: Share = 0.0
    #: Scenarios of accepted messages by weight, instead of `failure_rate`.
    mix: dict[str, Weight] = {}
    #: Whether any receipts are sent.
    receipts: bool = True
    #: Whether intermediate receipts such as _SMS.BUFFERED are sent.
    intermediate: bool = True
    #: Seconds from the response to the first receipt.
    receipt_delay: Seconds = 0.0
    #: Shares of messages whose receipts are duplicated, reversed, or never sent.
    duplicate_rate: Share = 0.0
    reorder_rate: Share = 0.0
    lost_rate: Share = 0.0


class Call(msgspec.Struct, frozen=True):
    """The result of one call to a provider."""

    delay: float = 0.0
    #: The status of the error response, if the call fails.
    status: int | None = None
    #: Whether the call is accepted and the connection closes without a response.
    lost: bool = False


class Dice:
    """Chooses the scenarios of one provider's messages."""

    def __init__(self, provider: str, failures: tuple[str, ...]) -> None:
        self.provider = provider
        self._failures = failures
        self.set(ScenarioSettings())

    def set(self, settings: ScenarioSettings) -> None:
        """Apply settings, and count messages from 1 again."""
        self.settings = settings
        self._messages = 0
        self._calls = 0
        self._seen: set[str] = set()
        self._usual_call = Call(delay=settings.latency)
        self._usual = _scenario("delivered", settings.receipts, settings.intermediate, settings.receipt_delay)
        rates = ("throttle", "temporary", "refuse", "failure", "duplicate", "reorder", "lost")
        self._random = bool(settings.mix) or any(getattr(settings, f"{name}_rate") for name in rates)

    def call(self) -> Call:
        """Return the result of the next call; must be called once per call."""
        settings = self.settings
        self._calls += 1
        if not settings.error_rate and not settings.lost_answer_rate:
            return self._usual_call
        dice = _roll(settings.seed, f"call {self._calls}")
        if dice[0] < settings.error_rate:
            return Call(settings.latency, settings.error_status)
        return Call(settings.latency, None, dice[1] < settings.lost_answer_rate)

    def message(self, address: str) -> Scenario:
        """Return the scenario of the next message, to this address; must be called once per message."""
        self._messages += 1
        if address[-7:-2] == MARK or address.startswith(EMAIL_MARK):
            word = fixed(address)
            if word is not None:
                return self._fixed(address, word)
        return self._chance() if self._random else self._usual

    def _fixed(self, address: str, word: str) -> Scenario:
        settings = self.settings
        if word in ONCE:
            if address in self._seen:
                return self._usual
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            self._seen.add(address)
        return _scenario(word, settings.receipts, settings.intermediate, settings.receipt_delay)

    def _chance(self) -> Scenario:
        settings = self.settings
        dice = _roll(settings.seed, f"message {self._messages}")
        left = dice[0]
        for rate, word in (
            (settings.throttle_rate, "throttled"),
            (settings.temporary_rate, "temporary"),
            (settings.refuse_rate, "rejected"),
        ):
            if left < rate:
                return _scenario(word, True, True, 0.0)
            left -= rate
        word = "delivered"
        if settings.mix:
            word = _pick(settings.mix, dice[1])
        elif dice[1] < settings.failure_rate:
            word = self._failures[int(dice[2] * len(self._failures))]
        return _scenario(
            word,
            settings.receipts and dice[3] >= settings.lost_rate,
            settings.intermediate,
            settings.receipt_delay,
            dice[4] < settings.duplicate_rate,
            dice[5] < settings.reorder_rate,
        )


class Scenarios:
    """The scenarios of all providers."""

    def __init__(self) -> None:
        self._dice: dict[str, Dice] = {}

    def declare(self, provider: str, failures: tuple[str, ...] = FAILURES) -> Dice:
        """Return the dice of a provider; they are created at the first call."""
        return self._dice.setdefault(provider, Dice(provider, failures))

    def dice(self, provider: str) -> Dice:
        """Return the dice of a provider; raise NotFound for an unknown one."""
        if provider not in self._dice:
            raise NotFound(
                f"Unknown provider {provider[:80]!r}; the sink simulates {', '.join(sorted(self._dice))}.",
                code="unknown_provider",
            )
        return self._dice[provider]

    def set(self, provider: str, given: object) -> ScenarioSettings:
        """Apply settings from JSON; omitted fields have their default."""
        settings = read_settings(given)
        self.dice(provider).set(settings)
        return settings

    def all(self) -> Mapping[str, ScenarioSettings]:
        """Return the settings of each provider."""
        return {name: dice.settings for name, dice in sorted(self._dice.items())}


def read_settings(given: object) -> ScenarioSettings:
    """Decode settings from JSON; raise Invalid if they are not valid or contradict each other."""
    try:
        settings = msgspec.convert(given, ScenarioSettings)
    except msgspec.ValidationError as error:
        raise Invalid(f"The settings are not valid: {error}.", code="invalid_fate") from error
    unknown = settings.mix.keys() - SCENARIOS.keys()
    if unknown:
        raise Invalid(f"Unknown result {min(unknown)[:80]!r}; allowed are {', '.join(SCENARIOS)}.", code="invalid_fate")
    if settings.mix and not sum(settings.mix.values()):
        raise Invalid("All weights of `mix` are 0. Give at least one a positive weight.", code="invalid_fate")
    if settings.throttle_rate + settings.temporary_rate + settings.refuse_rate > 1:
        raise Invalid(
            "The sum of throttle_rate, temporary_rate and refuse_rate must be at most 1.", code="invalid_fate"
        )
    return settings


def fixed(address: str) -> str | None:
    """Return the name of the fixed scenario of an address, if it has one."""
    if address[-7:-2] == MARK:
        return SPECIAL.get(address[-2:])
    if address.startswith(EMAIL_MARK):
        word = address[len(EMAIL_MARK) :].partition("@")[0].partition("+")[0].replace("-", "_")
        return word if word in SCENARIOS else None
    return None


@functools.lru_cache(1024)
def _scenario(
    word: str, receipts: bool, intermediate: bool, delay: float, twice: bool = False, reverse: bool = False
) -> Scenario:
    """Return a scenario with its receipts adapted to the settings."""
    reply, steps = SCENARIOS[word]
    if not receipts:
        steps = ()
    if not intermediate:
        steps = tuple(step for step in steps if step != "queued")
    if reverse:
        steps = steps[::-1]
    return Scenario(word, reply, steps * 2 if twice else steps, delay)


@functools.lru_cache(1024)
def moments(steps: tuple[str, ...]) -> tuple[int, ...]:
    """Return the time of each step in milliseconds after acceptance, whatever the order of the receipts."""
    ends = list(dict.fromkeys(step for step in steps if step not in BEGINNINGS))
    return tuple(BEGINNINGS.get(step, 2 + ends.index(step) if step in ends else 0) for step in steps)


def _pick(mix: Mapping[str, float], dice: float) -> str:
    """Return a random name by weight."""
    left = dice * sum(mix.values())
    for word, weight in mix.items():
        if left < weight:
            return word
        left -= weight
    return max(mix, key=lambda word: mix[word])


def _roll(seed: str, what: str) -> tuple[float, ...]:
    """Return six numbers from 0 to 1, determined by the seed and the purpose."""
    digest = hashlib.blake2b(f"{seed}:{what}".encode(), digest_size=48).digest()
    return tuple(number / 2**64 for number in struct.unpack(">6Q", digest))


def to_json(settings: ScenarioSettings) -> dict[str, Any]:
    """Return the JSON view of settings."""
    view: dict[str, Any] = msgspec.to_builtins(settings)
    return view
