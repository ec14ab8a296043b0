"""Apply receipts in bulk: change messages, emit events, and record suppressions and consents."""

from typing import Any

import msgspec

from waypost.domain.events.segment import message_key, normal_email, normal_phone
from waypost.domain.messaging.keywords import meant
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.message_events import engaged, received
from waypost.domain.messaging.status import MessageState, Transition, from_receipt
from waypost.domain.values.ids import public
from waypost.engine.messaging.matching import SameAccount, match
from waypost.engine.messaging.transitions import Transitions
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])

#: Workspace, channel, address.
_Address = tuple[int, str, str]
#: A consent statement: its time in microseconds, `opted_in` or `opted_out`, and its source.
_Statement = tuple[int, str, str]


async def apply_receipts(
    tx: Tx,
    receipts: list[Receipt],
    transitions: Transitions,
    *,
    same_account: SameAccount,
    named: dict[int, list[MessageState]] | None = None,
) -> list[Receipt]:
    """Change the messages that receipts are about; record engagement, inbound texts, suppressions and consents.

    `named` are messages whose provider's id is not written yet. Return the receipts whose message is unknown.
    """
    unit, now = transitions.unit, transitions.now
    matched = await match(tx, receipts, transitions, named or {}, same_account)
    people = await _people(tx, receipts)
    suppressed: list[tuple[Any, ...]] = []
    consents: dict[_Address, _Statement] = {}
    unmatched: list[Receipt] = []
    events: list[Any] = []
    #: Consent keywords in inbound texts, with their event.
    words: list[tuple[Any, _Address, _Statement]] = []
    for receipt, state in zip(receipts, matched, strict=True):
        address = state.address if state else _normal(receipt.address)
        profile_id = people.get((receipt.workspace_id, address or ""))
        if receipt.kind == "status" and state is None and receipt.provider_message_id is not None:
            unmatched.append(receipt)
        channel = state.channel if state else "email" if "@" in (receipt.address or "@") else "sms"
        if receipt.kind == "status" and state is not None:
            transitions.apply(state, _known_by(receipt, state))
        elif receipt.kind == "inbound":
            word = meant(receipt.text or "", receipt.keyword)
            event = received(receipt, word, profile_id, *_identity(receipt))
            events.append(event)
            if word in ("stop", "start") and address:
                consent = "opted_out" if word == "stop" else "opted_in"
                words.append(
                    (event, (receipt.workspace_id, channel, address), (receipt.occurred_at, consent, "keyword"))
                )
        elif receipt.kind == "engagement":
            events.append(engaged(state, receipt, profile_id, *_identity(receipt)))
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
    for event, address_key, said in words:
        # Without a provider's date a repeat has the date of its arrival: it must not count as a later statement.
        if id(event) in fresh_ids:
            _note_consent(consents, address_key, said)
    await _set_consents(tx, consents)
    transitions.events.extend(fresh)
    return unmatched


async def apply_stored(tx: Tx, found: list[tuple[int, Receipt]], transitions: Transitions, **known: Any) -> int:
    """Apply receipts that were stored without a message; delete those that matched one and return how many."""
    left = await apply_receipts(tx, [receipt for _, receipt in found], transitions, **known)
    unmatched = {id(receipt) for receipt in left}
    done = [id_ for id_, receipt in found if id(receipt) not in unmatched]
    if done:
        await tx.run("unmatched.delete", ids=done)
    return len(done)


def _note_consent(consents: dict[_Address, _Statement], key: _Address, said: _Statement) -> None:
    """Keep the latest statement of an address; at equal times `opted_out` wins, because it sorts after `opted_in`."""
    consents[key] = max(said, consents.get(key, said))


async def _set_consents(tx: Tx, consents: dict[_Address, _Statement]) -> None:
    rows = [(*key, state, source, at) for key, (at, state, source) in sorted(consents.items())]
    await tx.insert("consents.set", rows)


def _known_by(receipt: Receipt, state: MessageState) -> Transition:
    change = from_receipt(receipt)
    if receipt.provider_message_id is not None and state.provider_message_id is None:
        change.provider_message_id = receipt.provider_message_id
        change.provider_key = message_key(receipt.workspace_id, receipt.provider_message_id)
    return change


def _identity(receipt: Receipt) -> tuple[str, int]:
    """Return the message id and key of a receipt's event: from the provider's id, or else from its content."""
    name = receipt.receipt_id
    if name is None:
        said = _encode((receipt.provider_message_id, receipt.address, receipt.event, receipt.occurred_at, receipt.text))
        name = f"{message_key(receipt.connection_id, said.decode()):x}"
    name = f"{public('con', receipt.connection_id)}:{name}"
    return name, message_key(receipt.workspace_id, name)


def _normal(address: str | None) -> str | None:
    """Normalise an address; one that cannot be normalised stays unchanged."""
    if not address:
        return None
    return (normal_email(address) if "@" in address else normal_phone(address)) or address


async def _people(tx: Tx, receipts: list[Receipt]) -> dict[tuple[int, str], int]:
    """Return the profiles of the addresses of inbound texts and engagement."""
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
    """Suppress addresses; record an opt-out that a provider reports as a consent statement."""
    consents: dict[_Address, _Statement] = {
        row[:3]: (now, "opted_out", "provider") for row in found if row[3] == "opted_out"
    }
    rows = {row[:3]: (*row, now) for row in found if row[3] != "opted_out"}
    await tx.insert("suppressions.add", [rows[key] for key in sorted(rows)])
    await _set_consents(tx, consents)
