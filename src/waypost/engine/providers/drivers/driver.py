"""The shape of a driver: the code that a connector names for what its data cannot say."""

from collections.abc import Callable
from typing import Protocol

from waypost.domain.messaging.message import Outgoing, Verdict
from waypost.domain.providers.connection import Connection
from waypost.engine.net.request import Request, Response


class Driver(Protocol):
    """Builds the requests of a connector and reads the responses. A module with these names is one."""

    #: Calls under way for each one that may be on the wire: more than one where the wire has a queue of its own.
    CALLS_PER_SLOT: int

    def together(self, messages: list[Outgoing]) -> list[bool]:
        """Return which of the messages, at least one, go into one call; the first always does."""

    def prepare(
        self, connection: Connection, messages: list[Outgoing], callback_url: Callable[[Connection], str], now: int
    ) -> Request:
        """Return the request for the messages that go together. Raise Invalid when they cannot be sent like this."""

    def read(self, connection: Connection, messages: list[Outgoing], response: Response, now: int) -> list[Verdict]:
        """Return a verdict for each message, in order, whatever came back."""

    def divisible(self, messages: list[Outgoing], response: Response) -> bool:
        """Return whether one message may have spoilt the call for the others, so that halves of it may be sent."""
