"""Senders: who the emails of a workspace are from."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.messaging.senders import SenderIdentity
from waypost.domain.values.ids import internal, public
from waypost.engine.messaging import senders
from waypost.engine.messaging.senders import SenderRecord
from waypost.storage.database import Tx

Address = Annotated[str, Meta(min_length=1, max_length=320, description="The email address.")]
Name = Annotated[str, Meta(max_length=200, description="What people see beside the address; may be empty.")]
ReplyTo = Annotated[str, Meta(max_length=600, description="`Name <address>` or an address, for answers; may be empty.")]
Default = Annotated[bool, Meta(description="Whether emails that name no sender have this one, in place of another.")]
SenderChannel = Annotated[Literal["email"], Meta(description="Text messages have the sender of their connection.")]


class CreateSender(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new sender."""

    channel: SenderChannel = "email"
    address: Address
    name: Name = ""
    reply_to: ReplyTo = ""
    default: Default = False


class ChangeSender(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change; the rest stays."""

    address: Address | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    reply_to: ReplyTo | UnsetType = UNSET
    default: Default | UnsetType = UNSET


class SenderDetail(msgspec.Struct, kw_only=True):
    """A sender."""

    id: str
    channel: str
    address: str
    name: str
    reply_to: str
    default: bool
    #: What a message or a template names as its `sender`.
    mailbox: str
    created_at: str
    updated_at: str


@post("/v1/senders", summary="Create a sender", opt={"body": CreateSender, "statuses": {"409"}})
async def create_sender(call: NamedDependency[Call]) -> Response[SenderDetail]:
    """Stores a sender. Your provider must know its address or domain, or it refuses the emails."""
    body = await call.body(CreateSender)
    given = SenderIdentity(address=body.address, name=body.name, reply_to=body.reply_to)

    async def work(tx: Tx) -> SenderDetail:
        ids = call.engine.ids
        return _view(await senders.add_sender(tx, ids, call.workspace_id, given, call.now, is_default=body.default))

    response = await call.perform(201, work)
    await call.refresh()
    return response


@get("/v1/senders", summary="List senders")
async def list_senders(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[SenderDetail]:
    """Returns the senders of the workspace, newest first."""
    records = await call.read(senders.list_senders, call.workspace_id, before("senders", after), limit + 1)
    return page("senders", records, limit, _view, lambda record: record.id)


@get("/v1/senders/{id:str}", summary="Get a sender")
async def get_sender(call: NamedDependency[Call], id: FromPath[str]) -> SenderDetail:
    """Returns a sender."""
    return _view(await call.read(senders.find_sender, call.workspace_id, internal("snd", id)))


@patch("/v1/senders/{id:str}", summary="Change a sender", opt={"body": ChangeSender, "statuses": {"409"}})
async def change_sender(call: NamedDependency[Call], id: FromPath[str]) -> SenderDetail:
    """Changes a sender. What was accepted before is sent as it was; templates keep what they name."""
    body = await call.body(ChangeSender)
    given: dict[str, Any] = msgspec.structs.asdict(body)
    given["is_default"] = given.pop("default")
    changes = {name: value for name, value in given.items() if value is not UNSET}
    record = await call.transact(senders.change_sender, call.workspace_id, internal("snd", id), changes, call.now)
    await call.refresh()
    return _view(record)


@delete("/v1/senders/{id:str}", summary="Delete a sender")
async def delete_sender(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a sender. Templates that name it keep it; without a default sender, that of the connection counts."""
    await call.transact(senders.delete_sender, call.workspace_id, internal("snd", id))
    await call.refresh()


def _view(record: SenderRecord) -> SenderDetail:
    return SenderDetail(
        id=public("snd", record.id),
        channel=record.channel,
        address=record.address,
        name=record.name,
        reply_to=record.reply_to,
        default=record.is_default,
        mailbox=record.sender.mailbox,
        created_at=iso(record.created_at),
        updated_at=iso(record.updated_at),
    )


ROUTES = permit("settings", [create_sender, list_senders, get_sender, change_sender, delete_sender])
