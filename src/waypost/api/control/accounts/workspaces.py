"""Workspaces: make, see, change and delete them."""

import enum
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.accounts.sessions import require_session
from waypost.api.control.calls import LOGGED, OWN, Call, permit
from waypost.clock import iso
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.permissions import may_make_workspaces
from waypost.domain.accounts.second_factor import FactorState
from waypost.domain.accounts.workspace_deletion import check_deletion
from waypost.domain.values.ids import public
from waypost.domain.values.local_time import read_zone
from waypost.engine.accounts import workspaces
from waypost.engine.accounts.retention import check_days
from waypost.engine.accounts.sessions import require_passkey
from waypost.engine.accounts.users import workspaces_of
from waypost.engine.messaging.sending_rules import set_time_zone
from waypost.engine.workspaces import deletions
from waypost.errors import Conflict, Forbidden
from waypost.storage.database import Tx

log = structlog.get_logger()


class MfaRule(enum.StrEnum):
    """Who needs a second factor."""

    OPTIONAL = "optional"
    CHANGES = "changes"  #: Who changes connections and webhooks.
    REQUIRED = "required"  #: Everybody.


class MakeWorkspace(msgspec.Struct, forbid_unknown_fields=True):
    """The name of a new workspace."""

    name: Annotated[str, Meta(max_length=sign_in.LONGEST_NAME)]


Days = Annotated[int, Meta(ge=1, le=100_000)]


class SetRetention(msgspec.Struct, forbid_unknown_fields=True):
    """For how many days rows are kept; null for as long as the server keeps them. Omitted fields stay."""

    event_days: (
        Annotated[Days | None, Meta(description="Events with their deliveries, messages, and imports.")] | UnsetType
    ) = UNSET
    attempt_days: Annotated[Days | None, Meta(description="The log of attempts to deliver webhooks.")] | UnsetType = (
        UNSET
    )


class ChangeWorkspace(msgspec.Struct, forbid_unknown_fields=True):
    """What may be changed; omitted fields stay."""

    name: Annotated[str, Meta(max_length=sign_in.LONGEST_NAME)] | None = None
    mfa: MfaRule | None = None
    time_zone: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=100,
                description="Of people of whom none is known: a name of the IANA database, such as `Europe/Berlin`.",
            ),
        ]
        | None
    ) = None
    retention: (
        Annotated[SetRetention, Meta(description="At most as long as the server keeps them. What is past it is lost.")]
        | None
    ) = None


class WorkspaceRetention(msgspec.Struct, kw_only=True):
    """For how many days rows are kept; null for as long as the server keeps them."""

    event_days: int | None
    attempt_days: int | None
    #: The settings of the server, over which no workspace goes.
    server_event_days: int
    server_attempt_days: int


class Workspace(msgspec.Struct, kw_only=True):
    """A workspace."""

    id: str
    name: str
    mfa: MfaRule
    #: The time zone of people of whom none is known, for quiet hours, frequency caps and campaigns at a local time.
    time_zone: str
    retention: WorkspaceRetention
    created_at: str


class DeleteWorkspace(msgspec.Struct, forbid_unknown_fields=True):
    """The name of the workspace, as a proof that it is the right one."""

    name: str


class WorkspaceContents(deletions.Contents, kw_only=True):
    """What a workspace contains. Numbers are counted up to `counted_to`: there may be more than that."""

    counted_to: int


class WorkspaceCreated(msgspec.Struct, kw_only=True):
    """A new workspace, with an API key and a write key that are shown only once."""

    id: str
    name: str
    api_key: str
    write_key: str


@get("/v1/workspace", summary="Get the workspace")
async def get_workspace(call: NamedDependency[Call]) -> Workspace:
    """Returns the workspace and its settings."""
    return _view(call, await call.read(workspaces.read_workspace, call.workspace_id))


@patch("/v1/workspace", summary="Change the workspace", opt={"body": ChangeWorkspace})
async def update_workspace(call: NamedDependency[Call]) -> Response[Workspace]:
    """Changes the name of the workspace, who needs a second factor in it, its time zone or its retention."""
    body = await call.body(ChangeWorkspace)
    changes = _read_changes(call, body)
    mfa = changes.get("mfa")
    if mfa is not None:
        # Who may only change settings must not switch off what guards the rest.
        call.admitted.require("users.write", call.now)
    session = call.admitted.session
    if mfa not in (None, "optional") and session is not None:
        require_passkey(session)
        if session.factor is FactorState.MISSING:
            raise Conflict("Set up your own second factor first: this would lock you out.", code="no_totp", field="mfa")

    async def work(tx: Tx) -> Workspace:
        if body.time_zone is not None:
            await set_time_zone(tx, call.workspace_id, body.time_zone, call.caller.id, call.now)
        await workspaces.change_workspace(tx, call.workspace_id, changes)
        return _view(call, await workspaces.read_workspace(tx, call.workspace_id))

    response = await call.perform(200, work)
    call.forget_callers()
    await call.refresh()
    return response


@post("/v1/workspaces", summary="Create a workspace", opt=OWN | LOGGED | {"body": MakeWorkspace})
async def make_workspace(call: NamedDependency[Call]) -> WorkspaceCreated:
    """Creates a workspace that you own, with its first keys. It takes an owner or admin of another one."""
    body = await call.body(MakeWorkspace)
    name, session = sign_in.check_name(body.name), require_session(call)
    if not may_make_workspaces(one.role for one in session.workspaces):
        raise Forbidden("Only owners and admins create workspaces. Ask one of them.")
    made = await call.transact(workspaces.add_workspace, call.engine.ids, name, session.user_id, call.now)
    call.forget_callers()
    return WorkspaceCreated(id=made["workspace"], name=name, api_key=made["api_key"], write_key=made["write_key"])


@get("/v1/workspace/contents", summary="Count what the workspace contains")
async def get_workspace_contents(call: NamedDependency[Call]) -> WorkspaceContents:
    """Returns how much would be deleted with the workspace."""
    found = await call.read(deletions.count_contents, call.workspace_id)
    return WorkspaceContents(**msgspec.structs.asdict(found), counted_to=deletions.COUNTED)


@delete(
    "/v1/workspace",
    summary="Delete the workspace",
    status_code=204,
    opt={"body": DeleteWorkspace, "permission": "workspace.delete"},
)
async def delete_workspace(call: NamedDependency[Call]) -> None:
    """Deletes the workspace with all that it contains. From now on nothing of it is accepted or sent."""
    body, session = await call.body(DeleteWorkspace), require_session(call)

    async def work(tx: Tx) -> str:
        workspace = await workspaces.read_workspace(tx, call.workspace_id)
        mine = await workspaces_of(tx, session.user_id)
        check_deletion(workspace["name"], body.name, len(mine))
        await deletions.close_workspace(tx, call.workspace_id, call.now)
        return str(workspace["name"])

    name = await call.transact(work)
    log.info(
        "a workspace was deleted",
        action="workspace_deleted",
        id=public("ws", call.workspace_id),
        name=name,
        user=public("usr", session.user_id),
        ip=call.admitted.ip,
    )
    await call.engine.closed.refresh()
    call.forget_callers()
    await call.refresh()
    call.engine.workspaces_due.wake_at(call.now)


def _read_changes(call: Call, body: ChangeWorkspace) -> dict[str, Any]:
    """Return what `change_workspace` changes; raise Invalid, with `field`, for a value that is not valid."""
    changes: dict[str, Any] = {}
    if body.name is not None:
        changes["name"] = sign_in.check_name(body.name)
    if body.mfa is not None:
        changes["mfa"] = body.mfa.value
    if body.time_zone is not None:
        read_zone(body.time_zone, "time_zone")
    settings, retention = call.engine.settings, body.retention or SetRetention()
    for field, days, most in (
        ("event_days", retention.event_days, settings.event_days),
        ("attempt_days", retention.attempt_days, settings.attempt_days),
    ):
        if not isinstance(days, UnsetType):
            check_days(field, days, most)
            changes[field] = days
    return changes


def _view(call: Call, record: dict[str, Any]) -> Workspace:
    return Workspace(
        id=public("ws", call.workspace_id),
        name=record["name"],
        mfa=MfaRule(record["mfa"]),
        time_zone=record["time_zone"],
        retention=WorkspaceRetention(
            event_days=record["event_days"],
            attempt_days=record["attempt_days"],
            server_event_days=call.engine.settings.event_days,
            server_attempt_days=call.engine.settings.attempt_days,
        ),
        created_at=iso(record["created_at"]),
    )


ROUTES = permit("settings", [get_workspace, get_workspace_contents, update_workspace, delete_workspace, make_workspace])
