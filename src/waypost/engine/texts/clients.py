"""Clients of the text-message API: create, find, list, change, rotate and delete them."""

import os
import time
from typing import Any

import msgspec

from waypost.clock import SECOND, Ids
from waypost.domain.texts.client import (
    DEFAULT_METRIC,
    ID_BYTES,
    LONGEST_OVERLAP_S,
    MOST_MATCHES,
    RATE_LIMIT,
    SECRET_BYTES,
    Callback,
    CheckLinks,
    TextClient,
    WebhookCallback,
    callback_filter,
    check_utm,
    make_client_id,
    make_secret,
    secret_digest,
)
from waypost.domain.values.egress_guard import Networks
from waypost.domain.values.ids import internal, public
from waypost.domain.webhooks import klaviyo
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.webhooks import endpoints
from waypost.engine.webhooks.endpoints import (
    BY_OWNER,
    Draft,
    change_webhook,
    check_draft,
    create_webhook,
    delete_webhook,
    find_webhook,
    switch_webhook,
)
from waypost.errors import Conflict, Invalid, NotFound, Unauthorized
from waypost.storage.database import Database, Tx

MOST_CLIENTS = 1000
#: Secrets that are valid at the same time: the current one and those whose overlap has not ended.
MOST_SECRETS = 5
#: Seconds for which a client that was found is cached; a change in another process takes effect after it.
TRUST_S = 2.0
_KEPT = 10_000

_encode = msgspec.json.Encoder().encode
_secrets = msgspec.json.Decoder(tuple[tuple[str, int | None], ...])
_utm = msgspec.json.Decoder(dict[str, str])
_callback = msgspec.json.Decoder(Callback)


class TextClientDraft(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a client that its owner chooses."""

    name: str
    callback: Callback | None = None
    rate_limit: float = RATE_LIMIT
    check_links: CheckLinks = CheckLinks.NOW
    utm: dict[str, str] | None = None
    connection_id: int | None = None
    default_metric: str = DEFAULT_METRIC
    max_matches: int = MOST_MATCHES


class TextClientRecord(TextClientDraft, frozen=True, kw_only=True):
    """A client with its state."""

    id: int
    workspace_id: int
    client_id: str
    #: Digests of its secrets, and until when each is valid.
    secrets: tuple[tuple[str, int | None], ...]
    endpoint_id: int | None
    created_at: int
    updated_at: int


class TextClients:
    """Finds the client of a request, by what it sends as its id and secret."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, TextClient | None]] = {}

    def remember(self, client_id: str) -> TextClient | None:
        """Return the cached client with an id, or None."""
        found = self._known.get(client_id)
        return found[1] if found is not None and found[0] > time.monotonic() else None

    async def find(self, client_id: str) -> TextClient | None:
        """Return the client with an id, or None. Unknown ids are cached as well, so that guessing costs no query."""
        found = self._known.get(client_id)
        if found is not None and found[0] > time.monotonic():
            return found[1]
        records = await self._database.read(_find, client_id)
        client = open_client(read_record(records[0])) if records else None
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[client_id] = (time.monotonic() + TRUST_S, client)
        return client

    def forget(self) -> None:
        """Clear the cache, because a client was changed."""
        self._known.clear()


def authenticate(client: TextClient | None, secret: str, now: int) -> TextClient:
    """Return the client if the secret is valid; else raise Unauthorized, the same for an unknown client."""
    if client is None or not client.accepts(secret, now):
        raise Unauthorized(
            "X-Client-ID or X-Client-Secret is not valid. `waypost text-clients rotate` makes a new secret."
        )
    return client


def open_client(record: TextClientRecord) -> TextClient:
    """Return what the text-message API needs to know of a client."""
    return TextClient(
        id=record.id,
        workspace_id=record.workspace_id,
        name=record.name,
        client_id=record.client_id,
        secrets=record.secrets,
        rate_limit=record.rate_limit,
        check_links=record.check_links,
        utm=record.utm,
        connection_id=record.connection_id,
        default_metric=record.default_metric,
        max_matches=record.max_matches,
    )


def read_record(row: dict[str, Any]) -> TextClientRecord:
    """Return the client of a row of `text_clients`."""
    return TextClientRecord(
        **{name: row[name] for name in _PLAIN},
        check_links=CheckLinks(row["check_links"]),
        secrets=_secrets.decode(row["secrets"]),
        utm=None if row["utm"] is None else _utm.decode(row["utm"]),
        callback=None if row["callback"] is None else _callback.decode(row["callback"]),
    )


_PLAIN = tuple(set(TextClientRecord.__struct_fields__) - {"check_links", "secrets", "utm", "callback"})


class TextClientOwner:
    """Checks and writes the clients of workspaces, each with the webhook endpoint of its callback."""

    def __init__(self, ids: Ids, encryption: Encryption, networks: Networks, connections: ConnectionRegistry) -> None:
        self._ids = ids
        self._encryption = encryption
        self._networks = networks
        self._connections = connections

    def check(self, workspace_id: int, draft: TextClientDraft) -> TextClientDraft:
        """Return the draft. Raise Invalid, with `field`, for its first error; NotFound for an unknown connection."""
        if not draft.name.strip() or not draft.name.isprintable():
            raise Invalid("`name` must have printable characters.", code="invalid_name", field="name")
        if not draft.default_metric.strip() or not draft.default_metric.isprintable():
            raise Invalid(
                "`default_metric` must have printable characters.", code="invalid_metric", field="default_metric"
            )
        if draft.utm is not None:
            check_utm(draft.utm)
        if draft.connection_id is not None:
            connection = self._connections.get(workspace_id, draft.connection_id)
            if connection is None:
                raise NotFound(
                    "There is no such connection in this workspace; GET /v1/connections lists them.",
                    code="unknown_connection",
                )
            if connection.channel != "sms":
                raise Invalid(
                    f"The connection {connection.name!r} sends {connection.channel}; a text client needs one for sms.",
                    code="wrong_channel",
                    field="connection_id",
                )
        self._endpoint(workspace_id, "", draft)
        return draft

    async def create(self, tx: Tx, workspace_id: int, draft: TextClientDraft, now: int) -> tuple[TextClientRecord, str]:
        """Create a client from a checked draft; return it with its secret, which is returned only here."""
        row = await tx.row("text_clients.count", workspace_id=workspace_id)
        if row is not None and row[0] >= MOST_CLIENTS:
            raise Conflict(f"A workspace has at most {MOST_CLIENTS} text clients; delete one first.", code="too_many")
        secret, client_id = make_secret(os.urandom(SECRET_BYTES)), make_client_id(os.urandom(ID_BYTES))
        endpoint_id = await self._create_endpoint(tx, workspace_id, client_id, draft, now)
        id_ = self._ids.one(now)
        await tx.run(
            "text_clients.add",
            id=id_,
            workspace_id=workspace_id,
            client_id=client_id,
            secrets=_encode([(secret_digest(secret), None)]).decode(),
            endpoint_id=endpoint_id,
            now=now,
            **_columns(draft),
        )
        return await find_client(tx, workspace_id, id_), secret

    async def update(self, tx: Tx, workspace_id: int, id_: int, changes: dict[str, Any], now: int) -> TextClientRecord:
        """Change what is given of the settings of a client; check the whole, and return it. Raise as `check` does."""
        record = await find_client(tx, workspace_id, id_)
        before = {name: getattr(record, name) for name in TextClientDraft.__struct_fields__}
        return await self.change(tx, record, self.check(workspace_id, TextClientDraft(**before | changes)), now)

    async def change(self, tx: Tx, record: TextClientRecord, draft: TextClientDraft, now: int) -> TextClientRecord:
        """Change a client to a checked draft and return it.

        The endpoint of its callback stays the same one, so that statuses that wait go to where the callback is now.
        """
        endpoint_id = record.endpoint_id
        if endpoint_id is None:
            endpoint_id = await self._create_endpoint(tx, record.workspace_id, record.client_id, draft, now)
        elif draft.callback is None:
            await delete_webhook(tx, record.workspace_id, endpoint_id, now)
            endpoint_id = None
        elif (draft.callback, draft.name) != (record.callback, record.name):
            await self._change_endpoint(tx, record, endpoint_id, draft, now)
        await tx.run(
            "text_clients.change",
            workspace_id=record.workspace_id,
            id=record.id,
            endpoint_id=endpoint_id,
            now=now,
            **_columns(draft),
        )
        return await find_client(tx, record.workspace_id, record.id)

    async def _create_endpoint(
        self, tx: Tx, workspace_id: int, client_id: str, draft: TextClientDraft, now: int
    ) -> int | None:
        endpoint = self._endpoint(workspace_id, client_id, draft)
        if endpoint is None:
            return None
        secret = endpoints.make_secret("v1", None)
        webhook = await create_webhook(tx, self._ids, self._encryption, workspace_id, endpoint, "v1", secret, now)
        return webhook.id

    async def _change_endpoint(
        self, tx: Tx, record: TextClientRecord, endpoint_id: int, draft: TextClientDraft, now: int
    ) -> None:
        endpoint = self._endpoint(record.workspace_id, record.client_id, draft)
        webhook = await find_webhook(tx, self._encryption, record.workspace_id, endpoint_id)
        if endpoint is not None:
            await change_webhook(tx, self._encryption, webhook, endpoint, now)
        if draft.callback != record.callback and webhook.disabled_reason not in (None, BY_OWNER):
            # Waypost disabled it because of where it went before.
            await switch_webhook(tx, self._encryption, record.workspace_id, endpoint_id, True, now)

    def _endpoint(self, workspace_id: int, client_id: str, draft: TextClientDraft) -> Draft | None:
        """Return the endpoint of a callback. Raise Invalid or NotFound if the callback is not valid."""
        if draft.callback is None:
            return None
        callback = draft.callback
        endpoint = Draft(
            url=callback.url if isinstance(callback, WebhookCallback) else "",
            event_types=("text.status",),
            description=f"Statuses of the texts of {draft.name[:150]}",
            filter=callback_filter(client_id),
            ordered=True,
        )
        if isinstance(callback, WebhookCallback):
            return check_draft(endpoint, self._networks)
        connection_id = internal("con", callback.connection_id)
        connection = self._connections.get(workspace_id, connection_id)
        if connection is None:
            raise NotFound(
                "There is no such connection in this workspace; GET /v1/connections lists them.",
                code="unknown_connection",
            )
        if connection.connector.name != "klaviyo":
            raise Invalid(
                f"The connection {connection.name!r} is not one to Klaviyo but to {connection.connector.label}.",
                code="wrong_connector",
                field="callback",
            )
        # The connection has the address and the key, also after they change; the URL is only shown.
        url = str(connection.config.get("host") or connection.connector.base_url).rstrip("/") + klaviyo.EVENTS
        return msgspec.structs.replace(
            endpoint,
            url=url,
            format=klaviyo.FORMAT,
            connection_id=connection_id,
            rate_limit=klaviyo.PER_SECOND,
            timeout_ms=connection.connector.timeout_ms,
        )


async def find_client(tx: Tx, workspace_id: int, id_: int) -> TextClientRecord:
    """Return a client; raise NotFound if the workspace has none with this id."""
    records = await tx.records("text_clients.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise NotFound("There is no such text client in this workspace; it may have been deleted.")
    return read_record(records[0])


async def list_clients(tx: Tx, workspace_id: int, before: int, n: int) -> list[TextClientRecord]:
    """Return a page of clients, newest first."""
    rows = await tx.records("text_clients.list", workspace_id=workspace_id, before=before, n=n)
    return [read_record(row) for row in rows]


async def owners_of(tx: Tx, workspace_id: int, endpoint_ids: list[int]) -> dict[int, tuple[int, str]]:
    """Return the clients (id and name) whose callbacks these endpoints are, by endpoint."""
    rows = await tx.rows("text_clients.of_endpoints", workspace_id=workspace_id, ids=endpoint_ids)
    return {endpoint_id: (id_, name) for endpoint_id, id_, name in rows}


async def check_unowned(tx: Tx, workspace_id: int, endpoint_id: int) -> None:
    """Raise Conflict if an endpoint is the callback of a client: only the client is changed or deleted."""
    found = (await owners_of(tx, workspace_id, [endpoint_id])).get(endpoint_id)
    if found is not None:
        id_, name = public("tcl", found[0]), found[1]
        raise Conflict(
            f"The endpoint is the callback of the text client {name!r} ({id_}). Change the client with "
            f"PATCH /v1/text-clients/{id_}, or remove its callback there.",
            code="text_client_endpoint",
        )


async def rotate_secret(tx: Tx, workspace_id: int, id_: int, overlap_s: int, now: int) -> tuple[TextClientRecord, str]:
    """Give a client a new secret and return it; the previous one is valid as well until the overlap ends."""
    record = await find_client(tx, workspace_id, id_)
    secret = make_secret(os.urandom(SECRET_BYTES))
    ends_at = now + min(overlap_s, LONGEST_OVERLAP_S) * SECOND
    older = [
        (digest, min(until or ends_at, ends_at))
        for digest, until in record.secrets
        if overlap_s and (until is None or until > now)
    ]
    secrets = [(secret_digest(secret), None), *older[: MOST_SECRETS - 1]]
    await tx.run(
        "text_clients.set_secrets",
        workspace_id=workspace_id,
        id=id_,
        secrets=_encode(secrets).decode(),
        now=now,
    )
    return await find_client(tx, workspace_id, id_), secret


async def delete_client(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete a client and the endpoint of its callback. Its texts that wait to be sent are still sent."""
    record = await find_client(tx, workspace_id, id_)
    await tx.run("text_clients.delete", workspace_id=workspace_id, id=id_, now=now)
    if record.endpoint_id is not None:
        await delete_webhook(tx, workspace_id, record.endpoint_id, now)


async def _find(tx: Tx, client_id: str) -> list[dict[str, Any]]:
    return await tx.records("text_clients.find", client_id=client_id)


def _columns(draft: TextClientDraft) -> dict[str, Any]:
    return {
        "name": draft.name,
        "rate_limit": draft.rate_limit,
        "check_links": draft.check_links.value,
        "utm": None if draft.utm is None else _encode(draft.utm).decode(),
        "connection_id": draft.connection_id,
        "callback": None if draft.callback is None else _encode(draft.callback).decode(),
        "default_metric": draft.default_metric,
        "max_matches": draft.max_matches,
    }
