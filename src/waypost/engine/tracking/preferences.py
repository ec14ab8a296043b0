"""What people choose by the links in their messages: to unsubscribe, and which channels and lists they want."""

import msgspec

from waypost.domain.audience.lists import MemberAction, MemberState
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.domain.messaging.message_events import unsubscribed
from waypost.domain.tracking.mail_tokens import UnsubscribeTarget
from waypost.domain.values.ids import public
from waypost.engine.audience.lists import find_list, move_members
from waypost.engine.audience.recipients import Recipient, load_recipients
from waypost.engine.audience.subscriptions import load_states, set_subscriptions
from waypost.engine.runtime.unit import Unit
from waypost.engine.tracking.campaigns import load_campaigns
from waypost.engine.tracking.message_states import load_messages
from waypost.storage.database import Tx

#: The channels that a person can choose, and the kinds of identifiers that are their addresses.
CHANNELS = {"email": "email", "sms": "phone"}
#: The most lists that the page shows.
MOST_LISTS = 200

_encode = msgspec.json.Encoder().encode


class PreferenceProof(msgspec.Struct, frozen=True):
    """How a person said so: the proof of the change."""

    #: `one_click` for a mail program, `unsubscribe_page` or `preference_page`.
    source: str
    ip: str
    user_agent: str


class ChannelChoice(msgspec.Struct, frozen=True):
    """A channel on the preference page."""

    channel: str
    address: str
    chosen: bool


class ListChoice(msgspec.Struct, frozen=True):
    """A list on the preference page."""

    id: int
    name: str
    chosen: bool


class Preferences(msgspec.Struct):
    """What a person can choose, and what is chosen now."""

    #: The name of the workspace.
    organization: str
    profile_id: int | None
    channels: list[ChannelChoice]
    lists: list[ListChoice]


async def load_preferences(tx: Tx, target: UnsubscribeTarget) -> Preferences:
    """Return what the person whom a token names can choose."""
    workspace_id = target.workspace_id
    profiles = [target.profile_id] if target.profile_id else []
    known = await load_recipients(tx, workspace_id, profiles, [(target.channel, target.address)])
    # Whoever reads the mailbox now has the choice.
    owner = known.by_address.get((target.channel, target.address), target.profile_id)
    person = known.people.get(owner)
    addresses = _addresses(target, person)
    states = await load_states(tx, [(workspace_id, channel, address) for channel, address in addresses.items()])
    channels = [
        ChannelChoice(
            channel, address, states.get((workspace_id, channel, address)) is not SubscriptionState.UNSUBSCRIBED
        )
        for channel, address in addresses.items()
    ]
    rows = await tx.rows("list_members.of_profiles", ids=[person.id]) if person is not None else []
    lists = [ListChoice(id_, name, state != MemberState.UNSUBSCRIBED) for _, id_, name, state, *_ in rows[:MOST_LISTS]]
    organization = str(known.organization.get("name", ""))
    return Preferences(organization, person.id if person is not None else None, channels, lists)


async def unsubscribe(tx: Tx, unit: Unit, target: UnsubscribeTarget, proof: PreferenceProof) -> None:
    """Unsubscribe the address of a token from its channel, and its person from its list. A repeat changes nothing."""
    known = await load_preferences(tx, target)
    channels = {target.channel: False}
    await _apply(tx, unit, target, known, channels, {target.list_id: False} if target.list_id else {}, proof)


async def save_preferences(
    tx: Tx,
    unit: Unit,
    target: UnsubscribeTarget,
    channels: dict[str, bool],
    lists: dict[int, bool],
    proof: PreferenceProof,
) -> None:
    """Change what a person chose. What the page does not show to this person is left alone."""
    known = await load_preferences(tx, target)
    await _apply(tx, unit, target, known, channels, lists, proof)


async def _apply(
    tx: Tx,
    unit: Unit,
    target: UnsubscribeTarget,
    known: Preferences,
    channels: dict[str, bool],
    lists: dict[int, bool],
    proof: PreferenceProof,
) -> None:
    changed = [one for one in known.channels if channels.get(one.channel, one.chosen) is not one.chosen]
    cause = public("msg", target.message_id) if target.message_id else None
    proven = {"ip": proof.ip, "user_agent": proof.user_agent} | ({"message_id": cause} if cause else {})
    states = {True: SubscriptionState.SUBSCRIBED, False: SubscriptionState.UNSUBSCRIBED}
    changes = [
        SubscriptionChange(
            target.workspace_id,
            one.channel,
            one.address,
            states[not one.chosen],
            proof.source,
            proof=_encode(proven).decode(),
            cause=cause,
        )
        for one in changed
    ]
    left = [one for one in known.lists if one.chosen and lists.get(one.id) is False]
    joined = [one for one in known.lists if not one.chosen and lists.get(one.id) is True]
    gone = [one.channel for one in changed if one.chosen]
    # Whoever leaves the list of a mail unsubscribes, whatever became of the address before.
    if not gone and any(one.id == target.list_id for one in left) and proof.source != "preference_page":
        gone = [target.channel]
    for channel in gone:
        await _announce(tx, unit, target, known, channel, proof)
    await set_subscriptions(tx, changes, unit)
    if known.profile_id is not None and (left or joined):
        for one in (*left, *joined):
            contact_list = await find_list(tx, target.workspace_id, one.id)
            # The link came to the person's own mailbox, so that joining needs no further confirmation.
            action = MemberAction.LEAVE if one.chosen else MemberAction.CONFIRM
            people = [known.profile_id]
            await move_members(tx, unit, target.workspace_id, contact_list, people, action, proof.source, events=True)


async def _announce(
    tx: Tx, unit: Unit, target: UnsubscribeTarget, known: Preferences, channel: str, proof: PreferenceProof
) -> None:
    """Emit the event of a person who unsubscribed from a channel."""
    state, _ = (await load_messages(tx, [target.message_id or None])).get(target.message_id, (None, []))
    if state is not None and state.workspace_id != target.workspace_id:
        state = None
    campaigns = await load_campaigns(tx, [state.occurrence_id] if state is not None and state.occurrence_id else [])
    address = next((one.address for one in known.channels if one.channel == channel), target.address)
    name = f"{public('msg', target.message_id)}:unsubscribed:{channel}:{unit.now:x}"
    properties = {"source": proof.source, "ip": proof.ip, "user_agent": proof.user_agent}
    if target.list_id:
        properties["list_id"] = public("lst", target.list_id)
    unit.emit(
        [
            unsubscribed(
                state,
                target.workspace_id,
                channel,
                address,
                known.profile_id or target.profile_id or None,
                unit.now,
                name,
                properties,
                campaigns.get(state.occurrence_id or 0) if state is not None else None,
            )
        ]
    )


def _addresses(target: UnsubscribeTarget, person: Recipient | None) -> dict[str, str]:
    """Return the address of each channel: that of the token, and those that the person has besides."""
    addresses = {target.channel: target.address}
    for channel, kind in CHANNELS.items() if person is not None else ():
        if (known := person.identifiers.get(kind) if person is not None else None) is not None:
            addresses.setdefault(channel, known)
    return addresses
