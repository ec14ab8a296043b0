"""Receipts applied: messages moved by them, and what people did and wrote noted, with few queries for many of them."""

from typing import Any

import msgspec

from waypost.domain.events.segment import message_key
from waypost.domain.messaging.keywords import effective_keyword
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.message_events import engaged, received
from waypost.domain.messaging.status import MessageState, Transition, from_receipt
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.ids import public
from waypost.engine.messaging.matching import SameAccount, find_earlier, match
from waypost.engine.messaging.transitions import Transitions
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])

#: Workspace, channel, address.
_Address = tuple[int, str, str]
#: What a person wants: when they said so (microseconds), `opted_in` or `opted_out`, and how it is known.
_Said = tuple[int, str, str]


async def apply_receipts(
    tx: Tx,
    receipts: list[Receipt],
    transitions: Transitions,
    *,
    same_account: SameAccount,
    named: dict[int, list[MessageState]] | None = None,
) -> list[Receipt]:
    """Move the messages that receipts are about, and note what people did and said. One query for all of each kind.

    `named` are messages whose provider's id is not written yet. Return the receipts whose message is not known.
    """
    unit, now = transitions.unit, transitions.now
    matched = await match(tx, receipts, transitions, named or {}, same_account)
    earlier = await find_earlier(tx, receipts, matched)
    people = await _people(tx, receipts)
    suppressed: list[tuple[Any, ...]] = []
    consents: dict[_Address, _Said] = {}
    unmatched: list[Receipt] = []
    told: list[Any] = []
    #: Keywords that people wrote, by the event that tells of them.
    words: list[tuple[Any, _Address, _Said]] = []
    for receipt, standing, is_earlier in zip(receipts, matched, earlier, strict=True):
        address = standing.address if standing else _normal(receipt.address)
        profile_id = people.get((receipt.workspace_id, address or ""))
        if receipt.kind == "status" and standing is None and receipt.provider_message_id is not None:
            unmatched.append(receipt)
        channel = standing.channel if standing else "email" if "@" in (receipt.address or "@") else "sms"
        if receipt.kind == "status" and standing is not None:
            transitions.apply(standing, _known_by(receipt, standing, is_earlier))
        elif receipt.kind == "inbound":
            word = effective_keyword(receipt.text or "", receipt.keyword)
            event = received(receipt, word, profile_id, *_identity(receipt))
            told.append(event)
            if word in ("stop", "start") and address:
                state = "opted_out" if word == "stop" else "opted_in"
                words.append((event, (receipt.workspace_id, channel, address), (receipt.occurred_at, state, "keyword")))
        elif receipt.kind == "engagement":
            told.append(engaged(standing, receipt, profile_id, *_identity(receipt)))
        if receipt.suppress is not None and address:
            if receipt.suppress == "opted_out":
                _note_consent(
                    consents, (receipt.workspace_id, channel, address), (receipt.occurred_at, "opted_out", "provider")
                )
            else:
                suppressed.append(
                    (receipt.workspace_id, channel, address, receipt.suppress, receipt.connection_id, receipt.detail)
                )
    await suppress(tx, suppressed, now)
    fresh = await unit.unseen(tx, told)
    heard = {id(event) for event in fresh}
    for event, address_key, said in words:
        # A repeat has no date of its own where the provider gives none: it must not count as a later word.
        if id(event) in heard:
            _note_consent(consents, address_key, said)
    await _set_consents(tx, consents)
    transitions.events.extend(fresh)
    return unmatched


async def apply_stored(tx: Tx, found: list[tuple[int, Receipt]], transitions: Transitions, **known: Any) -> int:
    """Apply receipts that were stored without a message and delete those that have one; return how many had."""
    left = await apply_receipts(tx, [receipt for _, receipt in found], transitions, **known)
    strangers = {id(receipt) for receipt in left}
    done = [id_ for id_, receipt in found if id(receipt) not in strangers]
    if done:
        await tx.run("unmatched.delete", ids=done)
    return len(done)


def _note_consent(consents: dict[_Address, _Said], key: _Address, said: _Said) -> None:
    """Keep the latest word of an address; at the same time `opted_out` wins, since it sorts after `opted_in`."""
    consents[key] = max(said, consents.get(key, said))


async def _set_consents(tx: Tx, consents: dict[_Address, _Said]) -> None:
    rows = [(*key, state, source, at) for key, (at, state, source) in sorted(consents.items())]
    await tx.insert("consents.set", rows)


def _known_by(receipt: Receipt, standing: MessageState, earlier_try: bool) -> Transition:
    change = from_receipt(receipt)
    change.earlier_try = earlier_try
    if earlier_try:
        return change
    if receipt.provider_message_id is not None and standing.provider_message_id is None:
        change.provider_message_id = receipt.provider_message_id
        change.provider_key = message_key(receipt.workspace_id, receipt.provider_message_id)
    return change


def _identity(receipt: Receipt) -> tuple[str, int]:
    """What makes a repeat of a receipt the same event: the provider's id of it, or everything that it says."""
    name = receipt.receipt_id
    if name is None:
        said = _encode((receipt.provider_message_id, receipt.address, receipt.event, receipt.occurred_at, receipt.text))
        name = f"{message_key(receipt.connection_id, said.decode()):x}"
    name = f"{public('con', receipt.connection_id)}:{name}"
    return name, message_key(receipt.workspace_id, name)


def _normal(address: str | None) -> str | None:
    """An address as messages have it; one that providers write in their own way stays as it is."""
    if not address:
        return None
    return (normal_email(address) if "@" in address else normal_phone(address)) or address


async def _people(tx: Tx, receipts: list[Receipt]) -> dict[tuple[int, str], int]:
    """The profiles behind the addresses that wrote or did something."""
    wanted = {
        (r.workspace_id, "email" if "@" in address else "phone", address)
        for r in receipts
        if r.kind != "status" and (address := _normal(r.address))
    }
    if not wanted:
        return {}
    row = await tx.row("identities.find", wanted=_encode(sorted(wanted)).decode())
    return {(ws, value): profile_id for ws, _, value, profile_id, _ in _claims.decode(row[0] if row else "[]")}


async def suppress(tx: Tx, found: list[tuple[Any, ...]], now: int) -> None:
    """Suppress addresses; whoever is told by the provider that a person opted out notes it as their word."""
    consents: dict[_Address, _Said] = {
        row[:3]: (now, "opted_out", "provider") for row in found if row[3] == "opted_out"
    }
    rows = {row[:3]: (*row, now) for row in found if row[3] != "opted_out"}
    await tx.insert("suppressions.add", [rows[key] for key in sorted(rows)])
    await _set_consents(tx, consents)
