"""Apply receipts in bulk: change their messages, and record consents, suppressions, engagement and replies."""

from typing import Any

import msgspec

from waypost.domain.events.segment import message_key
from waypost.domain.messaging.keywords import effective_keyword
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.message_events import engaged, received
from waypost.domain.messaging.status import MessageState, Transition, from_receipt
from waypost.domain.tracking.click_events import CLICKED, reported_click
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.ids import public
from waypost.engine.messaging.matching import SameAccount, find_earlier, match
from waypost.engine.messaging.transitions import Transitions
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])

#: Workspace, channel, address.
_Address = tuple[int, str, str]
#: A consent statement: its time (microseconds), `opted_in` or `opted_out`, and its source.
_Statement = tuple[int, str, str]


async def apply_receipts(
    tx: Tx,
    receipts: list[Receipt],
    transitions: Transitions,
    *,
    same_account: SameAccount,
    named: dict[int, list[MessageState]] | None = None,
) -> list[Receipt]:
    """Apply receipts to their messages, and record what people did and wrote. The number of queries is constant.

    `named` are messages, by the key of their provider's id, whose id is not written yet. Return the receipts whose
    message is not known.
    """
    unit, now = transitions.unit, transitions.now
    matched = await match(tx, receipts, transitions, named or {}, same_account)
    earlier = await find_earlier(tx, receipts, matched)
    people = await _people(tx, receipts)
    suppressed: list[tuple[Any, ...]] = []
    consents: dict[_Address, _Statement] = {}
    unmatched: list[Receipt] = []
    events: list[Any] = []
    #: Consents by keyword, each with the event of the reply.
    keywords: list[tuple[Any, _Address, _Statement]] = []
    for receipt, message, is_earlier in zip(receipts, matched, earlier, strict=True):
        address = message.address if message else _normal(receipt.address)
        profile_id = people.get((receipt.workspace_id, address or ""))
        if receipt.kind == "status" and message is None and receipt.provider_message_id is not None:
            unmatched.append(receipt)
        channel = message.channel if message else "email" if "@" in (receipt.address or "@") else "sms"
        if receipt.kind == "status" and message is not None:
            transitions.apply(message, _transition(receipt, message, is_earlier))
        elif receipt.kind == "inbound":
            word = effective_keyword(receipt.text or "", receipt.keyword)
            event = received(receipt, word, profile_id, *_identity(receipt))
            events.append(event)
            if word in ("stop", "start") and address:
                state = "opted_out" if word == "stop" else "opted_in"
                keywords.append(
                    (event, (receipt.workspace_id, channel, address), (receipt.occurred_at, state, "keyword"))
                )
        elif receipt.kind == "engagement":
            make = reported_click if receipt.event == CLICKED else engaged
            events.append(make(message, receipt, profile_id, *_identity(receipt)))
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
    fresh = await unit.unseen(tx, events)
    fresh_ids = {id(event) for event in fresh}
    for event, address_key, statement in keywords:
        # A repeat must not count as a later statement: if the provider sends no time, it has that of its arrival.
        if id(event) in fresh_ids:
            _note_consent(consents, address_key, statement)
    await _set_consents(tx, consents)
    transitions.events.extend(fresh)
    return unmatched


async def apply_stored(tx: Tx, found: list[tuple[int, Receipt]], transitions: Transitions, **known: Any) -> int:
    """Apply receipts that were stored without a message, and delete those whose message is found. Return how many."""
    left = await apply_receipts(tx, [receipt for _, receipt in found], transitions, **known)
    unmatched = {id(receipt) for receipt in left}
    done = [id_ for id_, receipt in found if id(receipt) not in unmatched]
    if done:
        await tx.run("unmatched.delete", ids=done)
    return len(done)


def _note_consent(consents: dict[_Address, _Statement], key: _Address, statement: _Statement) -> None:
    """Keep the latest statement of an address; at equal times `opted_out` wins, since it sorts after `opted_in`."""
    consents[key] = max(statement, consents.get(key, statement))


async def _set_consents(tx: Tx, consents: dict[_Address, _Statement]) -> None:
    rows = [(*key, state, source, at) for key, (at, state, source) in sorted(consents.items())]
    await tx.insert("consents.set", rows)


def _transition(receipt: Receipt, message: MessageState, earlier_try: bool) -> Transition:
    change = from_receipt(receipt)
    change.earlier_try = earlier_try
    if earlier_try:
        return change
    if receipt.provider_message_id is not None and message.provider_message_id is None:
        change.provider_message_id = receipt.provider_message_id
        change.provider_key = message_key(receipt.workspace_id, receipt.provider_message_id)
    return change


def _identity(receipt: Receipt) -> tuple[str, int]:
    """Return the message id and key that the event of a receipt shares with its repeats.

    They are made of the provider's id of the receipt, or of its contents.
    """
    name = receipt.receipt_id
    if name is None:
        r = receipt
        contents = _encode((r.provider_message_id, r.address, r.event, r.occurred_at, r.text)).decode()
        name = f"{message_key(r.connection_id, contents):x}"
    name = f"{public('con', receipt.connection_id)}:{name}"
    return name, message_key(receipt.workspace_id, name)


def _normal(address: str | None) -> str | None:
    """Return an address in the form that messages have; one in a form of the provider's own stays unchanged."""
    if not address:
        return None
    return (normal_email(address) if "@" in address else normal_phone(address)) or address


async def _people(tx: Tx, receipts: list[Receipt]) -> dict[tuple[int, str], int]:
    """Return the profiles of the addresses in receipts of engagement and replies."""
    addresses = {
        (r.workspace_id, "email" if "@" in address else "phone", address)
        for r in receipts
        if r.kind != "status" and (address := _normal(r.address))
    }
    if not addresses:
        return {}
    row = await tx.row("identities.find", wanted=_encode(sorted(addresses)).decode())
    return {(ws, value): profile_id for ws, _, value, profile_id, _ in _claims.decode(row[0] if row else "[]")}


async def suppress(tx: Tx, found: list[tuple[Any, ...]], now: int) -> None:
    """Suppress addresses. Those with the reason `opted_out` get a consent instead, with the provider as its source."""
    consents: dict[_Address, _Statement] = {
        row[:3]: (now, "opted_out", "provider") for row in found if row[3] == "opted_out"
    }
    rows = {row[:3]: (*row, now) for row in found if row[3] != "opted_out"}
    await tx.insert("suppressions.add", [rows[key] for key in sorted(rows)])
    await _set_consents(tx, consents)
