"""The delivery ledger and operator notifications."""

from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency

from waypost.api.control.calls import Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.values.ids import public
from waypost.domain.webhooks.ledger import Balance
from waypost.storage.database import Row, Tx

#: The id prefix of what a notification is about, by kind; all other kinds are about a webhook endpoint.
_ABOUT = {"connection_paused": "con"}


class EndpointLedger(msgspec.Struct):
    """The ledger of one webhook endpoint; deleted endpoints are included."""

    id: str
    accepted: int
    delivered: int
    pending: int
    dead: int
    balanced: bool


class Ledger(msgspec.Struct):
    """The ledger of a workspace: accepted = delivered + pending + dead."""

    accepted: int
    delivered: int
    pending: int
    dead: int
    balanced: bool
    endpoints: list[EndpointLedger]


class Notice(msgspec.Struct):
    """A notification for an operator."""

    id: str
    kind: str
    about: str | None
    recipient: str | None
    subject: str
    body: str
    #: pending, sent, shown (logged only: no mail server or no recipient is configured) or failed.
    state: str
    tries: int
    error: str | None
    created_at: str


@get("/v1/ledger", summary="Get the delivery ledger")
async def get_ledger(call: NamedDependency[Call]) -> Ledger:
    """Returns how many deliveries were accepted, delivered, are pending and are dead, in total and per endpoint."""
    rows = await call.read(_ledger, call.workspace_id)
    parts = [(endpoint_id, Balance(*map(int, numbers))) for endpoint_id, *numbers in rows]
    whole = sum((balance for _, balance in parts), Balance())
    endpoints = [EndpointLedger(id=public("whk", id_), **_numbers(totals)) for id_, totals in parts]
    return Ledger(endpoints=endpoints, **_numbers(whole))


def _numbers(totals: Balance) -> dict[str, Any]:
    return msgspec.structs.asdict(totals) | {"balanced": totals.balanced}


@get("/v1/notices", summary="List operator notifications")
async def list_notices(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Notice]:
    """Returns notifications, newest first."""
    rows = await call.read(_notices, call.workspace_id, before("notices", after), limit + 1)
    return page("notices", rows, limit, _notice, lambda row: int(row["id"]))


def _notice(row: dict[str, Any]) -> Notice:
    return Notice(
        id=public("ntc", row["id"]),
        kind=row["kind"],
        about=None if row["about"] is None else public(_ABOUT.get(row["kind"], "whk"), row["about"]),
        recipient=row["recipient"],
        subject=row["subject"],
        body=row["body"],
        state=row["state"],
        tries=row["tries"],
        error=row["error"],
        created_at=iso(row["created_at"]),
    )


async def _ledger(tx: Tx, workspace_id: int) -> list[Row]:
    return await tx.rows("counts.of_workspace_by_endpoint", workspace_id=workspace_id)


async def _notices(tx: Tx, workspace_id: int, before_id: int, n: int) -> list[dict[str, Any]]:
    return await tx.records("notices.list", workspace_id=workspace_id, before=before_id, n=n)


ROUTES = permit("settings", [get_ledger, list_notices])
