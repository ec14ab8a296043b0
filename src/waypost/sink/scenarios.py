"""What becomes of each message: rates and delays that a run sets, and addresses whose fate is fixed."""

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

#: A phone number that ends in these digits and two more has the fate of those two (SPECIAL).
MARK = "55500"
#: An email address or user name that begins with this has the fate that the next letters, up to @ or +, name.
EMAIL_MARK = "fate-"
#: Addresses remembered for fates that are different the second time; then all are forgotten.
REMEMBERED = 100_000


class Reply(StrEnum):
    """What the provider's answer says of a message. Each provider puts it in its own words."""

    TAKEN = "taken"  #: It has the message.
    INVALID = "invalid"  #: The address makes no sense; nothing is sent.
    REJECTED = "rejected"  #: Refused for good, for some other reason.
    OPTED_OUT = "opted_out"  #: This person wants nothing more.
    THROTTLED = "throttled"  #: Too fast; try later.
    TEMPORARY = "temporary"  #: Not now; try later.
    UNKNOWN = "unknown"  #: The provider itself does not know what happened.
    DUPLICATE = "duplicate"  #: It had this one already.
    ERROR = "error"  #: The whole call fails with `error_status`, and takes nothing.
    LOST = "lost"  #: The whole call is taken, but the connection is closed instead of answered.
    HANG = "hang"  #: The whole call is taken, and never answered.


class Fate(msgspec.Struct, frozen=True):
    """What becomes of one message."""

    word: str
    reply: Reply
    #: What the receipts say, in the order in which they are sent. Each provider leaves out what it has no word for.
    steps: tuple[str, ...] = ()
    #: Seconds from the answer to the first receipt.
    delay: float = 0.0


def _taken(*steps: str) -> tuple[Reply, tuple[str, ...]]:
    return Reply.TAKEN, steps


#: Every fate by its word: the answer, and what the receipts then say.
FATES: dict[str, tuple[Reply, tuple[str, ...]]] = {
    "delivered": _taken("queued", "delivered"),
    "invalid": _taken("queued", "invalid"),
    "unreachable": _taken("queued", "unreachable"),
    "carrier_blocked": _taken("queued", "carrier_blocked"),
    "opted_out": (Reply.OPTED_OUT, ()),
    "throttled": (Reply.THROTTLED, ()),
    "temporary": (Reply.TEMPORARY, ()),
    "unknown_failure": (Reply.UNKNOWN, ()),
    "spam": _taken("queued", "spam"),
    "duplicate": (Reply.DUPLICATE, ()),
    "malformed": (Reply.INVALID, ()),
    "rejected": (Reply.REJECTED, ()),
    "throttled_once": (Reply.THROTTLED, ()),
    "temporary_once": (Reply.TEMPORARY, ()),
    "error": (Reply.ERROR, ()),
    "error_once": (Reply.ERROR, ()),
    "lost_answer": (Reply.LOST, ("queued", "delivered")),
    "no_answer": (Reply.HANG, ("queued", "delivered")),
    "carrier_unreachable": _taken("queued", "carrier_unreachable"),
    "blocked": _taken("queued", "blocked"),
    "invalid_message": _taken("queued", "invalid_message"),
    "expired": _taken("queued", "expired"),
    "max_price": _taken("queued", "max_price"),
    "opted_out_later": _taken("queued", "opted_out"),
    "unknown": _taken("queued", "unknown"),
    "novel": _taken("queued", "novel"),
    "sent": _taken("queued", "sent"),
    "stopped": _taken("queued", "delivered", "stop"),
    "silent": _taken(),
    "queued": _taken("queued"),
    "repeated": _taken("queued", "delivered", "queued", "delivered"),
    "reordered": _taken("delivered", "sent", "queued"),
    "delivered_then_failed": _taken("queued", "delivered", "unreachable"),
    "failed_then_delivered": _taken("queued", "unreachable", "delivered"),
    "bounced": _taken("queued", "bounced"),
    "dropped": _taken("dropped"),
    "deferred": _taken("queued", "deferred", "delivered"),
    "opened": _taken("queued", "delivered", "opened"),
    "machine_opened": _taken("queued", "delivered", "machine_opened"),
    "clicked": _taken("queued", "delivered", "opened", "clicked"),
    "complained": _taken("queued", "delivered", "complained"),
    "unsubscribed": _taken("queued", "delivered", "unsubscribed"),
}
#: The last two digits of a phone number that ends in MARK and them.
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
#: These go the second time.
ONCE = frozenset(word for word in FATES if word.endswith("_once"))
#: Steps that come before every other one, and when they happen.
BEGINNINGS = {"queued": 0, "sent": 1}
#: What a share of `failure_rate` gets, evenly, unless a provider says otherwise.
FAILURES = ("unreachable", "carrier_blocked", "invalid", "spam", "unknown")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run can set for one provider."""

    #: The same seed gives the n-th message the same fate again.
    seed: str = ""
    #: Seconds before each answer.
    latency: Seconds = 0.0
    #: A share of calls is answered with `error_status`, and takes nothing.
    error_rate: Share = 0.0
    error_status: Annotated[int, Meta(ge=400, le=599)] = 500
    #: A share of calls is taken, and the connection closed instead of answered.
    lost_answer_rate: Share = 0.0
    #: What is told to wait, in seconds, by providers that say so when they throttle.
    retry_after: Annotated[int, Meta(ge=0, le=86_400)] = 0
    #: Shares of messages whose answer says so.
    throttle_rate: Share = 0.0
    temporary_rate: Share = 0.0
    refuse_rate: Share = 0.0
    #: A share of taken messages fails afterwards.
    failure_rate: Share = 0.0
    #: Fates of taken messages by weight, instead of `failure_rate`.
    mix: dict[str, Weight] = {}
    #: Without them nothing is ever heard of a message.
    receipts: bool = True
    #: Receipts such as _SMS.BUFFERED that change nothing.
    intermediate: bool = True
    #: Seconds from the answer to the first receipt.
    receipt_delay: Seconds = 0.0
    #: Shares of messages whose receipts are all sent twice, come in reverse order, or never come.
    duplicate_rate: Share = 0.0
    reorder_rate: Share = 0.0
    lost_rate: Share = 0.0


class Call(msgspec.Struct, frozen=True):
    """What becomes of one call to a provider."""

    delay: float = 0.0
    #: The status of the error that it is answered with, if it is.
    status: int | None = None
    #: Whether it is taken and the connection closed instead of answered.
    lost: bool = False


class Dice:
    """The fates of one provider's messages."""

    def __init__(self, provider: str, failures: tuple[str, ...]) -> None:
        self.provider = provider
        self._failures = failures
        self.set(Settings())

    def set(self, settings: Settings) -> None:
        """Begin a run with these settings: messages are counted from 1 again."""
        self.settings = settings
        self._messages = 0
        self._calls = 0
        self._seen: set[str] = set()
        self._calm_call = Call(delay=settings.latency)
        self._usual = _fate("delivered", settings.receipts, settings.intermediate, settings.receipt_delay)
        chancy = ("throttle", "temporary", "refuse", "failure", "duplicate", "reorder", "lost")
        self._fickle = bool(settings.mix) or any(getattr(settings, f"{name}_rate") for name in chancy)

    def call(self) -> Call:
        """What becomes of the next call; asked once for each."""
        settings = self.settings
        self._calls += 1
        if not settings.error_rate and not settings.lost_answer_rate:
            return self._calm_call
        dice = _roll(settings.seed, f"call {self._calls}")
        if dice[0] < settings.error_rate:
            return Call(settings.latency, settings.error_status)
        return Call(settings.latency, None, dice[1] < settings.lost_answer_rate)

    def message(self, address: str) -> Fate:
        """What becomes of the next message, which is for this address; asked once for each."""
        self._messages += 1
        if address[-7:-2] == MARK or address.startswith(EMAIL_MARK):
            word = fixed(address)
            if word is not None:
                return self._fixed(address, word)
        return self._chance() if self._fickle else self._usual

    def _fixed(self, address: str, word: str) -> Fate:
        settings = self.settings
        if word in ONCE:
            if address in self._seen:
                return self._usual
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            self._seen.add(address)
        return _fate(word, settings.receipts, settings.intermediate, settings.receipt_delay)

    def _chance(self) -> Fate:
        settings = self.settings
        dice = _roll(settings.seed, f"message {self._messages}")
        left = dice[0]
        for rate, word in (
            (settings.throttle_rate, "throttled"),
            (settings.temporary_rate, "temporary"),
            (settings.refuse_rate, "rejected"),
        ):
            if left < rate:
                return _fate(word, True, True, 0.0)
            left -= rate
        word = "delivered"
        if settings.mix:
            word = _pick(settings.mix, dice[1])
        elif dice[1] < settings.failure_rate:
            word = self._failures[int(dice[2] * len(self._failures))]
        return _fate(
            word,
            settings.receipts and dice[3] >= settings.lost_rate,
            settings.intermediate,
            settings.receipt_delay,
            dice[4] < settings.duplicate_rate,
            dice[5] < settings.reorder_rate,
        )


class Scenarios:
    """The dice of every provider, and what a run has set for them."""

    def __init__(self) -> None:
        self._dice: dict[str, Dice] = {}

    def declare(self, provider: str, failures: tuple[str, ...] = FAILURES) -> Dice:
        """The dice of a provider, made when it is first played."""
        return self._dice.setdefault(provider, Dice(provider, failures))

    def dice(self, provider: str) -> Dice:
        """The dice of a provider."""
        if provider not in self._dice:
            raise NotFound(
                f"No provider {provider[:80]!r} is played; there are {', '.join(sorted(self._dice))}.",
                code="unknown_provider",
            )
        return self._dice[provider]

    def set(self, provider: str, given: object) -> Settings:
        """Take settings from JSON; what is not given has its default again."""
        settings = read_settings(given)
        self.dice(provider).set(settings)
        return settings

    def all(self) -> Mapping[str, Settings]:
        """What is set for each provider."""
        return {name: dice.settings for name, dice in sorted(self._dice.items())}


def read_settings(given: object) -> Settings:
    """Settings from JSON, known to make sense together."""
    try:
        settings = msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise Invalid(f"A fate is not valid: {error}.", code="invalid_fate") from error
    unknown = settings.mix.keys() - FATES.keys()
    if unknown:
        raise Invalid(f"There is no fate {min(unknown)[:80]!r}; there are {', '.join(FATES)}.", code="invalid_fate")
    if settings.mix and not sum(settings.mix.values()):
        raise Invalid("The weights of a mix are not all 0.", code="invalid_fate")
    if settings.throttle_rate + settings.temporary_rate + settings.refuse_rate > 1:
        raise Invalid("throttle_rate, temporary_rate and refuse_rate come to at most 1.", code="invalid_fate")
    return settings


def fixed(address: str) -> str | None:
    """The word of the fate that an address always has, if it has one."""
    if address[-7:-2] == MARK:
        return SPECIAL.get(address[-2:])
    if address.startswith(EMAIL_MARK):
        word = address[len(EMAIL_MARK) :].partition("@")[0].partition("+")[0].replace("-", "_")
        return word if word in FATES else None
    return None


@functools.lru_cache(1024)
def _fate(
    word: str, receipts: bool, intermediate: bool, delay: float, twice: bool = False, reverse: bool = False
) -> Fate:
    """A fate with its receipts as the run wants them."""
    reply, steps = FATES[word]
    if not receipts:
        steps = ()
    if not intermediate:
        steps = tuple(step for step in steps if step != "queued")
    if reverse:
        steps = steps[::-1]
    return Fate(word, reply, steps * 2 if twice else steps, delay)


@functools.lru_cache(1024)
def moments(steps: tuple[str, ...]) -> tuple[int, ...]:
    """Milliseconds after the message was taken at which each step happened, in whatever order they are told."""
    ends = list(dict.fromkeys(step for step in steps if step not in BEGINNINGS))
    return tuple(BEGINNINGS.get(step, 2 + ends.index(step) if step in ends else 0) for step in steps)


def _pick(mix: Mapping[str, float], dice: float) -> str:
    """The word on which the dice fall, each having its weight."""
    left = dice * sum(mix.values())
    for word, weight in mix.items():
        if left < weight:
            return word
        left -= weight
    return max(mix, key=lambda word: mix[word])


def _roll(seed: str, what: str) -> tuple[float, ...]:
    """Six numbers from 0 up to 1, always the same for the same seed and thing."""
    digest = hashlib.blake2b(f"{seed}:{what}".encode(), digest_size=48).digest()
    return tuple(number / 2**64 for number in struct.unpack(">6Q", digest))


def to_json(settings: Settings) -> dict[str, Any]:
    """Settings as the API tells them."""
    told: dict[str, Any] = msgspec.to_builtins(settings)
    return told
