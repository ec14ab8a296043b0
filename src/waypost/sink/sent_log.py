"""What the played providers took, so that a test can prove that nobody got a message twice."""

from collections import deque
from typing import Any

import msgspec

from waypost import clock

KEEP = 250_000


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message that a provider took."""

    serial: int
    provider: str
    address: str
    body: str
    #: The sender's own id, as far as it was sent along.
    mid: str
    #: The provider's id.
    message_id: str
    #: The word of its fate (sink.fates).
    fate: str
    at: int


class Shelf:
    """What one provider took."""

    __slots__ = ("by_address", "by_mid", "messages", "provider", "seen")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.seen = 0
        #: How often each mid and each address got a message; kept when the messages themselves are dropped.
        self.by_mid: dict[str, int] = {}
        self.by_address: dict[str, int] = {}
        self.messages: deque[Message] = deque()


class Taken:
    """Everything that was taken: the last messages of each provider, and counts of all of them.

    A distinct mid or address costs about 150 bytes until it is forgotten.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._serial = 0
        self._shelves: dict[str, Shelf] = {}

    def add(self, provider: str, address: str, body: str, mid: str, message_id: str, fate: str) -> None:
        """Note that a provider took a message."""
        shelf = self._shelves.get(provider)
        if shelf is None:
            shelf = self._shelves[provider] = Shelf(provider)
        self._serial += 1
        shelf.seen += 1
        if mid:
            shelf.by_mid[mid] = shelf.by_mid.get(mid, 0) + 1
        shelf.by_address[address] = shelf.by_address.get(address, 0) + 1
        if len(shelf.messages) >= self._keep:
            shelf.messages.popleft()
        shelf.messages.append(Message(self._serial, provider, address, body, mid, message_id, fate, clock.now_us()))

    def times(self, provider: str, mid: str) -> int:
        """How often a provider took the message with this mid."""
        shelf = self._shelves.get(provider)
        return 0 if shelf is None else shelf.by_mid.get(mid, 0)

    def count(self, provider: str | None) -> dict[str, int]:
        """Messages taken, how many different mids and addresses they had, and how many mids came more than once."""
        chosen = self._chosen(provider)
        return {
            "messages": sum(shelf.seen for shelf in chosen),
            "distinct": sum(len(shelf.by_mid) for shelf in chosen),
            "addresses": sum(len(shelf.by_address) for shelf in chosen),
            "repeated": sum(1 for shelf in chosen for times in shelf.by_mid.values() if times > 1),
        }

    def page(
        self, provider: str | None, limit: int, after: int, mid: str | None = None, address: str | None = None
    ) -> tuple[list[Message], int | None]:
        """The oldest kept after a serial, and the serial to go on after when there are more."""
        chosen = self._chosen(provider)
        source = (
            chosen[0].messages
            if len(chosen) == 1
            else sorted((message for shelf in chosen for message in shelf.messages), key=lambda message: message.serial)
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
        """A message as the API tells it; `count` is how often its address got one from this provider."""
        shelf = self._shelves.get(message.provider)
        return {
            "provider": message.provider,
            "address": message.address,
            "body": message.body,
            "mid": message.mid,
            "message_id": message.message_id,
            "fate": message.fate,
            "count": 0 if shelf is None else shelf.by_address.get(message.address, 0),
            "at": clock.iso(message.at),
        }

    def forget(self, provider: str | None) -> None:
        """Forget what a provider took, or what all of them took."""
        if provider is None:
            self._shelves.clear()
        else:
            self._shelves.pop(provider, None)

    def _chosen(self, provider: str | None) -> list[Shelf]:
        if provider is None:
            return list(self._shelves.values())
        return [self._shelves[provider]] if provider in self._shelves else []
