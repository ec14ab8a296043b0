"""Find the recipients of messages: profiles and their addresses."""

from typing import Any

import msgspec

from waypost.domain.audience.profiles import Traits, current
from waypost.domain.messaging.receipt import clean
from waypost.domain.messaging.request import LONGEST_ADDRESS, check_mail_address
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.ids import public
from waypost.errors import Invalid
from waypost.storage.database import Tx

#: The kinds of identifiers that are addresses of a channel, in order of preference.
KINDS = {"sms": ("phone",), "email": ("email",), "event": ("email", "phone", "user_id")}

_encode = msgspec.json.Encoder().encode
_traits = msgspec.json.Decoder(Traits)
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])


class Recipient(msgspec.Struct):
    """A profile that a message goes to."""

    id: int
    traits: dict[str, Any]
    #: By kind, the latest value.
    identifiers: dict[str, str]


class Recipients(msgspec.Struct):
    """The possible recipients of the messages of a request."""

    people: dict[int, Recipient]
    #: Profile ids by channel and address.
    by_address: dict[tuple[str, str], int]
    #: What templates see as `organization`.
    organization: dict[str, Any] = {}


async def load_recipients(
    tx: Tx, workspace_id: int, profiles: list[int], named: list[tuple[str | None, str]]
) -> Recipients:
    """Load recipients by profile, or by channel and address, with a few queries for all."""
    addresses: dict[tuple[str, str], tuple[str, str]] = {}
    for only, text in named:
        for channel in KINDS if only is None else (only,):
            if (place := place_of(channel, text)) is not None:
                addresses.setdefault((channel, place[1]), place)
    found = {}
    if addresses:
        keys = sorted({(workspace_id, kind, value) for kind, value in addresses.values()})
        row = await tx.row("identities.find", wanted=_encode(keys).decode())
        claims = {(kind, value): id_ for _, kind, value, id_, _ in _claims.decode(row[0] if row else "[]")}
        found = {place: claims[key] for place, key in addresses.items() if key in claims}
    row = await tx.row("workspaces.get", id=workspace_id)
    organization = {"id": public("ws", workspace_id), "name": row[0]} if row else {}
    return Recipients(await _people(tx, workspace_id, {*profiles, *found.values()}), found, organization)


async def _people(tx: Tx, workspace_id: int, ids: set[int]) -> dict[int, Recipient]:
    """Load profiles by id; a merged profile is replaced by the one that it was merged into."""
    people: dict[int, Recipient] = {}
    merged: dict[int, int] = {}
    missing = set(ids)
    while missing:
        rows = await tx.rows("profiles.many", workspace_id=workspace_id, ids=sorted(missing))
        missing = set()
        for id_, into, traits in rows:
            if into is None:
                people[id_] = Recipient(id_, current(_traits.decode(traits)), {})
            else:
                merged[id_] = into
                if into not in people and into not in merged:
                    missing.add(into)
    if people:
        for id_, kind, value in await tx.rows("identities.of_many", ids=sorted(people)):
            if kind != "anonymous_id":
                people[id_].identifiers.setdefault(kind, value)
    for id_, into in merged.items():
        while into in merged:
            into = merged[into]
        if into in people:
            people[id_] = people[into]
    return people


def find_address(channel: str, to: str | None, person: Recipient | None) -> tuple[str, str | None]:
    """Return the address, and why nothing can be sent to it; raise Invalid for a malformed `to`."""
    if to is not None:
        place = place_of(channel, to)
        if place is None and channel == "sms":
            raise Invalid(
                f"{to[:80]!r} is not a phone number with its country code, such as +12025550101.",
                code="invalid_number",
                field="to",
            )

        if place is None:
            raise Invalid(f"{to[:80]!r} is not an address.", code="invalid_address", field="to")
        if channel == "email":
            check_mail_address(place[1])
        return place[1], None
    if person is None:
        raise Invalid("A message needs a recipient: `to` or `profile_id`.", code="invalid_message", field="to")
    for kind in KINDS[channel]:
        if value := person.identifiers.get(kind):
            return value, None
    raw = person.traits.get("phone") if channel == "sms" else None
    # An invalid number is stored as a trait only, and not as an identifier.
    return clean(str(raw), LONGEST_ADDRESS) if raw else "", "invalid_number" if raw else "no_address"


def describe_recipient(channel: str, address: str, person: Recipient | None) -> dict[str, str]:
    """Return the identifiers by which a provider may know the person, the message's address included."""
    known = {} if person is None else {"profile_id": public("pro", person.id), **person.identifiers}
    place = place_of(channel, address)
    return known if place is None else known | {place[0]: place[1]}


def place_of(channel: str, text: str) -> tuple[str, str] | None:
    """Return the kind and the normalised value of an address of a channel; None for a malformed one."""
    for kind in KINDS[channel]:
        # In the event channel, digits without a plus sign are a user id.
        if kind != "phone" or channel == "sms" or text.lstrip().startswith("+"):
            value = normal_address(kind, text)
            if value is not None:
                return kind, value
    return None


def normal_address(kind: str, value: str) -> str | None:
    """Normalise an identifier (`kind` is phone, email or user_id); return None for a malformed one."""
    if kind == "phone":
        return normal_phone(value)
    if kind == "email":
        return normal_email(value)
    text = value.strip()
    return text if text and text.isprintable() else None
