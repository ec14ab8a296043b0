"""Find the messages of receipts, and match stored receipts again whose message was not found."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from waypost.clock import SECOND, Ids, first_id
from waypost.domain.events.segment import message_key
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.status import HistoryEntry, MessageState, is_of_earlier_try
from waypost.engine.messaging.transitions import Transitions
from waypost.storage.database import Tx

#: Ages, in seconds, at which receipts without a message are matched again. The first is for speed. At the second, every
#: transaction that was open when the receipt was stored has ended, even if the clocks of the processes differ.
AGES = (1, 60)
#: Receipts that one query reads.
PAGE = 1000

_receipt = msgspec.json.Decoder(Receipt)
_history = msgspec.json.Decoder(list[HistoryEntry])

#: Returns whether two connections belong to the same account at a provider.
SameAccount = Callable[[int, int], bool]


async def match(
    tx: Tx,
    receipts: Sequence[Receipt],
    transitions: Transitions,
    named: dict[int, list[MessageState]],
    same_account: SameAccount,
) -> list[MessageState | None]:
    """Return the message of each receipt, or None.

    A receipt is about a message of its own workspace that was sent through its own connection, or through another one
    of the same account. `named` are messages whose provider's id is not written yet, by its key.
    """
    keys = [_key(r) for r in receipts]
    found = await transitions.find(tx, sorted({key for key in keys if key is not None}))
    await transitions.load(tx, [id_ for ids in found.values() for id_ in ids])
    await transitions.load(tx, [r.message_id for r in receipts if r.message_id is not None])
    matched: list[MessageState | None] = []
    doubtful: list[tuple[int, list[MessageState]]] = []
    for index, (receipt, key) in enumerate(zip(receipts, keys, strict=True)):
        candidates = _candidates(receipt, key, transitions, found, named)
        matched.append(next((one for one in candidates if one.connection_id == receipt.connection_id), None))
        if candidates and matched[-1] is None:
            doubtful.append((index, candidates))
    if doubtful:
        earlier = await _earlier_connections(tx, sorted({one.id for _, candidates in doubtful for one in candidates}))
        for index, candidates in doubtful:
            own = receipts[index].connection_id
            matched[index] = next(
                (
                    one
                    for one in candidates
                    if any(
                        id_ == own or same_account(id_, own) for id_ in {one.connection_id, *earlier.get(one.id, ())}
                    )
                ),
                None,
            )
    return matched


def _key(receipt: Receipt) -> int | None:
    if receipt.message_id is not None or receipt.provider_message_id is None:
        return None
    return message_key(receipt.workspace_id, receipt.provider_message_id)


def _candidates(
    receipt: Receipt,
    key: int | None,
    transitions: Transitions,
    found: dict[int, list[int]],
    named: dict[int, list[MessageState]],
) -> list[MessageState]:
    if receipt.message_id is not None:
        one = transitions.states.get(receipt.message_id)
        candidates = [one] if one is not None else []
    elif key is not None:
        stored = (transitions.states.get(id_) for id_ in found.get(key, ()))
        candidates = [*named.get(key, ()), *(one for one in stored if one is not None)]
    else:
        return []
    return [one for one in candidates if one.workspace_id == receipt.workspace_id]


async def _earlier_connections(tx: Tx, ids: list[int]) -> dict[int, set[int]]:
    """Return all connections that messages were sent through, by their histories."""
    return {
        id_: {entry.connection for entry in _history.decode(f"[{history}]") if entry.connection}
        for id_, history in await tx.rows("messages.histories", ids=ids)
    }


async def find_earlier(tx: Tx, receipts: Sequence[Receipt], matched: Sequence[MessageState | None]) -> list[bool]:
    """Return for each receipt whether it is about a try before the last resend of its message by a user."""
    doubtful = {
        message.id
        for receipt, message in zip(receipts, matched, strict=True)
        if message is not None and _may_be_earlier(receipt, message)
    }
    if not doubtful:
        return [False] * len(receipts)
    rows = await tx.rows("messages.histories", ids=sorted(doubtful))
    histories = {id_: _history.decode(f"[{history}]") for id_, history in rows}
    return [
        message is not None and is_of_earlier_try(message, receipt, histories.get(message.id, []))
        for receipt, message in zip(receipts, matched, strict=True)
    ]


def _may_be_earlier(receipt: Receipt, message: MessageState) -> bool:
    """Return whether the message had a try before the present one, and the receipt would settle the present one."""
    waits = message.status in (Status.QUEUED, Status.HELD)
    return receipt.status in (Status.SENT, Status.FAILED) and message.tries > (0 if waits else 1)


class Rematching:
    """Finds stored receipts whose message has been recorded since.

    On PostgreSQL one process may record a receipt while another one records the provider's id of the message, and
    neither sees what the other has not committed. Every receipt is read again at the `AGES`, and all stored ones at the
    start of a process.
    """

    def __init__(self) -> None:
        #: For each age, the id of the last receipt that was read.
        self._after = [0] * len(AGES)

    async def find(self, tx: Tx, now: int) -> "Page | None":
        """Return the next page of receipts that have reached one of the ages, or None."""
        for index, age in enumerate(AGES):
            upto = first_id(now - age * SECOND)
            if self._after[index] >= upto:
                continue
            rows = await tx.rows("unmatched.again", after=self._after[index], upto=upto, n=PAGE)
            last = rows[-1][0] if len(rows) == PAGE else upto
            if rows:
                known = [(row[0], _receipt.decode(row[1])) for row in rows if row[2]]
                return Page(known, index, last)
            self._after[index] = last
        return None

    def passed(self, page: "Page") -> None:
        """Continue after a page. Call it once the receipts of the page are applied."""
        self._after[page.index] = max(page.last, self._after[page.index])


class Page(msgspec.Struct):
    """A page of receipts that were read again."""

    #: Those whose message is known now, with their ids.
    known: list[tuple[int, Receipt]]
    #: The index in `AGES` of the age that they have reached, and the last id that was read.
    index: int
    last: int


async def take_unmatched(tx: Tx, found: list[tuple[int, Receipt]]) -> list[tuple[int, Receipt]]:
    """Lock these receipts; return those that no other process has deleted meanwhile."""
    left = {row[0] for row in await tx.rows("unmatched.take", ids=sorted(id_ for id_, _ in found))}
    return [(id_, receipt) for id_, receipt in found if id_ in left]


def unmatched_row(ids: Ids, receipt: Receipt, now: int) -> tuple[Any, ...]:
    """Return the row of `unmatched_receipts` for a receipt with a provider's id."""
    key = message_key(receipt.workspace_id, receipt.provider_message_id or "")
    text = msgspec.json.encode(receipt).decode()
    return ids.one(now), receipt.workspace_id, receipt.connection_id, key, text, now
