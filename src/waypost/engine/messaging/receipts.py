"""Apply receipts in bulk: change their messages, and record subscriptions, suppressions, engagement and replies."""

from typing import Any

import msgspec

from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.domain.events.segment import message_key
from waypost.domain.messaging.keywords import effective_keyword
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.message_events import CampaignSummary, bounced, engaged, engagement_type, received
from waypost.domain.messaging.receipt import bounce_of
from waypost.domain.messaging.status import MessageState, Transition, from_receipt
from waypost.domain.tracking.click_events import VISITS, reported_visit
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.ids import public
from waypost.engine.messaging.matching import SameAccount, find_earlier, match
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.tracking.campaigns import load_campaigns
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])

#: Characters of a text that are kept as the proof of a keyword.
_PROOF = 160
#: The state of a subscription after a keyword.
_KEYWORDS = {"stop": SubscriptionState.UNSUBSCRIBED, "start": SubscriptionState.SUBSCRIBED}


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
    occurrences = {message.occurrence_id for message in matched if message is not None and message.occurrence_id}
    campaigns = await load_campaigns(tx, occurrences)
    suppressed: list[tuple[Any, ...]] = []
    unmatched: list[Receipt] = []
    events: list[Any] = []
    #: Changes of subscriptions, each with the event of the reply or the engagement, if there is one.
    changes: list[tuple[Any, SubscriptionChange]] = []
    for receipt, message, is_earlier in zip(receipts, matched, earlier, strict=True):
        address = message.address if message else _normal(receipt.address)
        profile_id = people.get((receipt.workspace_id, address or ""))
        if receipt.kind == "status" and message is None and receipt.provider_message_id is not None:
            unmatched.append(receipt)
        channel = message.channel if message else "email" if "@" in (receipt.address or "@") else "sms"
        event = None
        if receipt.kind == "status" and message is not None:
            transitions.apply(message, _transition(receipt, message, is_earlier))
        elif receipt.kind == "inbound":
            word = effective_keyword(receipt.text or "", receipt.keyword)
            event = received(receipt, word, profile_id, *_identity(receipt))
            if (state := _KEYWORDS.get(word or "")) and address:
                changes.append((event, _keyword_change(receipt, channel, address, state, event.message_id)))
        elif receipt.kind == "engagement":
            type_ = engagement_type(receipt.event or "message.engaged", channel)
            make = reported_visit if type_ in VISITS else engaged
            event = make(message, receipt, profile_id, *_identity(receipt), type_, _campaign(message, campaigns))
        if message is not None and channel == "email" and (kind := bounce_of(receipt)) is not None:
            name, key = _identity(receipt)
            campaign = _campaign(message, campaigns)
            events.append(bounced(message, kind, receipt.occurred_at, receipt.detail, name, key, campaign))
        if event is not None:
            events.append(event)
        if receipt.suppress == "opted_out" and address:
            cause = event.message_id if event else _identity(receipt)[0]
            place = (receipt.workspace_id, channel, address)
            change = opt_out(*place, receipt.occurred_at, receipt.connection_id, receipt.detail, cause=cause)
            changes.append((event, change))
        elif receipt.suppress is not None and address:
            suppressed.append(
                (receipt.workspace_id, channel, address, receipt.suppress, receipt.connection_id, receipt.detail)
            )
    await suppress(tx, suppressed, now)
    fresh = await unit.unseen(tx, events)
    transitions.events.extend(fresh)
    fresh_ids = {id(event) for event in fresh}
    # A repeat must not count as a later statement: if the provider sends no time, it has that of its arrival.
    transitions.subscription_changes += [change for event, change in changes if event is None or id(event) in fresh_ids]
    return unmatched


async def apply_stored(tx: Tx, found: list[tuple[int, Receipt]], transitions: Transitions, **known: Any) -> int:
    """Apply receipts that were stored without a message, and delete those whose message is found. Return how many."""
    left = await apply_receipts(tx, [receipt for _, receipt in found], transitions, **known)
    unmatched = {id(receipt) for receipt in left}
    done = [id_ for id_, receipt in found if id(receipt) not in unmatched]
    if done:
        await tx.run("unmatched.delete", ids=done)
    return len(done)


def _campaign(message: MessageState | None, campaigns: dict[int, CampaignSummary]) -> CampaignSummary | None:
    return None if message is None else campaigns.get(message.occurrence_id or 0)


def _keyword_change(
    receipt: Receipt, channel: str, address: str, state: SubscriptionState, cause: str
) -> SubscriptionChange:
    """Return the change of a subscription for a keyword, with the text of the reply as its proof."""
    proof = {"keyword": (receipt.text or "")[:_PROOF], "connection_id": public("con", receipt.connection_id)}
    if receipt.own_address:
        proof["to"] = receipt.own_address
    return SubscriptionChange(
        receipt.workspace_id, channel, address, state, "keyword", receipt.occurred_at, _encode(proof).decode(), cause
    )


def opt_out(
    workspace_id: int, channel: str, address: str, at: int, connection_id: int, detail: str | None, *, cause: str
) -> SubscriptionChange:
    """Return the change for an address whose owner opted out at the provider; `detail` is the provider's own text."""
    proof = {"connection_id": public("con", connection_id)} | ({"detail": detail} if detail else {})
    state = SubscriptionState.UNSUBSCRIBED
    return SubscriptionChange(workspace_id, channel, address, state, "provider", at, _encode(proof).decode(), cause)


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
    """Suppress addresses: workspace, channel, address, reason, connection, and the provider's own text."""
    rows = {row[:3]: (*row, now) for row in found}
    await tx.insert("suppressions.add", [rows[key] for key in sorted(rows)])
