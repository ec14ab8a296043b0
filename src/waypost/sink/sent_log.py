"""The messages that simulated providers accepted, so that tests can prove that none was sent twice."""

from collections import deque
from typing import Any

import msgspec

from waypost import clock

KEEP = 250_000


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message that a provider accepted."""

    serial: int
    provider: str
    address: str
    body: str
    #: The sender's own id, if it was sent.
    mid: str
    #: The provider's id.
    message_id: str
    #: The name of its scenario.
    scenario: str
    at: int


class ProviderLog:
    """The messages that one provider accepted."""

    __slots__ = ("by_address", "by_mid", "messages", "provider", "seen")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.seen = 0
        #: Messages per mid and per address; these counts stay when old messages are dropped.
        self.by_mid: dict[str, int] = {}
        self.by_address: dict[str, int] = {}
        self.messages: deque[Message] = deque()


class SentLog:
    """The last accepted messages of each provider, and counts of all of them.

    A distinct mid or address takes about 150 bytes until it is deleted.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._serial = 0
        self._logs: dict[str, ProviderLog] = {}

    def add(self, provider: str, address: str, body: str, mid: str, message_id: str, scenario: str) -> None:
        """Record a message that a provider accepted."""
        sent = self._logs.get(provider)
        if sent is None:
            sent = self._logs[provider] = ProviderLog(provider)
        self._serial += 1
        sent.seen += 1
        if mid:
            sent.by_mid[mid] = sent.by_mid.get(mid, 0) + 1
        sent.by_address[address] = sent.by_address.get(address, 0) + 1
        if len(sent.messages) >= self._keep:
            sent.messages.popleft()
        sent.messages.append(Message(self._serial, provider, address, body, mid, message_id, scenario, clock.now_us()))

    def times(self, provider: str, mid: str) -> int:
        """Return how often a provider accepted the message with this mid."""
        sent = self._logs.get(provider)
        return 0 if sent is None else sent.by_mid.get(mid, 0)

    def count(self, provider: str | None) -> dict[str, int]:
        """Return the number of messages, of distinct mids and addresses, and of mids that came more than once."""
        chosen = self._chosen(provider)
        return {
            "messages": sum(sent.seen for sent in chosen),
            "distinct": sum(len(sent.by_mid) for sent in chosen),
            "addresses": sum(len(sent.by_address) for sent in chosen),
            "repeated": sum(1 for sent in chosen for times in sent.by_mid.values() if times > 1),
        }

    def page(
        self, provider: str | None, limit: int, after: int, mid: str | None = None, address: str | None = None
    ) -> tuple[list[Message], int | None]:
        """Return the oldest stored messages after a serial, and the serial of the next page if there is one."""
        chosen = self._chosen(provider)
        source = (
            chosen[0].messages
            if len(chosen) == 1
            else sorted((message for sent in chosen for message in sent.messages), key=lambda message: message.serial)
        )
        found: list[Message] = []
        for message in source:
            if message.serial <= after or (mid is not None and message.mid != mid):
                continue
            if address is not None and message.address != address:
                continue
            if len(found) == limit:
                return found, found[-1].serial
            found.append(message)
        return found, None

    def show(self, message: Message) -> dict[str, Any]:
        """Return the JSON view of a message; `count` is the number of messages to its address."""
        sent = self._logs.get(message.provider)
        return {
            "provider": message.provider,
            "address": message.address,
            "body": message.body,
            "mid": message.mid,
            "message_id": message.message_id,
            "fate": message.scenario,
            "count": 0 if sent is None else sent.by_address.get(message.address, 0),
            "at": clock.iso(message.at),
        }

    def forget(self, provider: str | None) -> None:
        """Delete the messages of a provider, or of all providers."""
        if provider is None:
            self._logs.clear()
        else:
            self._logs.pop(provider, None)

    def _chosen(self, provider: str | None) -> list[ProviderLog]:
        if provider is None:
            return list(self._logs.values())
        return [self._logs[provider]] if provider in self._logs else []
