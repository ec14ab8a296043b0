"""The interface of a driver: code for a provider that the data of a connector cannot describe."""

from collections.abc import Callable
from typing import Protocol

from waypost.domain.messaging.message import Outgoing, Verdict
from waypost.domain.providers.connection import Connection
from waypost.engine.net.request import Request, Response


class Driver(Protocol):
    """Builds the requests of a connector and reads the responses. A module with these names is a driver."""

    #: Calls in progress for each one that may be sent at once: more than one if the driver's transport has a queue.
    CALLS_PER_SLOT: int

    def together(self, messages: list[Outgoing]) -> list[bool]:
        """Return for each message whether it goes into the same call as the first; the first always does."""

    def prepare(
        self, connection: Connection, messages: list[Outgoing], callback_url: Callable[[Connection], str], now: int
    ) -> Request:
        """Return the request for the messages of one call. Raise Invalid if the connection cannot send them."""

    def read(self, connection: Connection, messages: list[Outgoing], response: Response, now: int) -> list[Verdict]:
        """Return a verdict for each message, in order, for any response."""

    def divisible(self, messages: list[Outgoing], response: Response) -> bool:
        """Return whether one message may have made the provider refuse the call, so that halves of it may be sent."""
