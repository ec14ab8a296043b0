"""Create, change, enable, disable and delete webhook endpoints, and rotate their secrets."""

import os
from typing import Any

import msgspec

from waypost.clock import SECOND, Ids
from waypost.domain.values.contacts import normal_email
from waypost.domain.values.egress_guard import Networks, check_url
from waypost.domain.webhooks import klaviyo
from waypost.domain.webhooks.custom_headers import check_headers
from waypost.domain.webhooks.endpoint import STANDARD, Secret
from waypost.domain.webhooks.event_patterns import check_patterns
from waypost.domain.webhooks.filter import compile_filter
from waypost.domain.webhooks.ledger import Balance
from waypost.domain.webhooks.signing import PRIVATE, SEED, SHARED, encode_private_key, encode_secret, signer
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.webhooks.payload_formats import find_payload, hold_format
from waypost.errors import Conflict, Invalid, NotFound
from waypost.storage.database import Tx

#: Endpoints that a workspace may have.
MOST_ENDPOINTS = 1000
#: Secrets that sign at the same time: the current one and those whose overlap has not ended.
MOST_SECRETS = 5
SECRET_BYTES = 32
LONGEST_OVERLAP_S = 7 * 86_400
#: The reason of an endpoint that its owner disabled.
BY_OWNER = "by_owner"
PREFIXES = {"v1": SHARED, "v1a": PRIVATE}
#: The signature of an endpoint whose requests are not signed.
UNSIGNED = "none"

_encode = msgspec.json.Encoder().encode
_types = msgspec.json.Decoder(tuple[str, ...])
_object = msgspec.json.Decoder(dict[str, Any])
_headers = msgspec.json.Decoder(dict[str, str])
_secrets = msgspec.json.Decoder(tuple[Secret, ...])


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an endpoint that its owner chooses."""

    url: str
    event_types: tuple[str, ...]
    description: str = ""
    headers: dict[str, str] = {}
    filter: dict[str, Any] | None = None
    rate_limit: float | None = None
    concurrency: int = 64
    timeout_ms: int = 5000
    format: str = "standard"
    owner_email: str | None = None
    #: Whether it gets the events of one subject in order, and the connection of a marketing tool: chosen by the area
    #: that creates it, and fixed.
    ordered: bool = False
    connection_id: int | None = None
    #: The user who made it, for the formats that name one.
    user_id: str | None = None
    user_name: str | None = None


class WebhookRecord(Draft, frozen=True, kw_only=True):
    """A webhook endpoint with its state and its decrypted secrets."""

    id: int
    workspace_id: int
    signature: str
    secrets: tuple[Secret, ...]
    status: str
    disabled_reason: str | None
    disabled_at: int | None
    last_error: str | None
    last_error_at: int | None
    version: int
    created_at: int
    updated_at: int


def check_draft(draft: Draft, networks: Networks) -> Draft:
    """Normalise a draft; raise Invalid for its first error."""
    if draft.filter is not None:
        compile_filter(draft.filter)
    if "\0" in draft.description:
        raise Invalid("A description cannot contain the character U+0000.", code="invalid_description")
    if "\0" in f"{draft.user_id}{draft.user_name}":
        raise Invalid("user_id and user_name cannot contain the character U+0000.", code="invalid_user")
    if draft.owner_email is not None and normal_email(draft.owner_email) is None:
        raise Invalid("owner_email must be an email address such as ops@example.com.", code="invalid_owner_email")
    return msgspec.structs.replace(
        draft,
        url=check_url(draft.url, networks),
        event_types=check_patterns(list(draft.event_types)),
        headers=check_headers(draft.headers),
        owner_email=draft.owner_email and draft.owner_email.strip(),
    )


async def check_format(tx: Tx, workspace_id: int, draft: Draft) -> Draft:
    """Return a draft with the event types that its format has bodies for.

    Raise Invalid (code `unknown_format`, or `invalid_event_types` for a type without a body), in a transaction that
    writes the draft.
    """
    if draft.format == STANDARD:
        return draft
    if draft.format == klaviyo.FORMAT:
        raise Invalid(
            "The format klaviyo is for the callbacks of text clients; see POST /v1/text-clients.",
            code="unknown_format",
            field="format",
        )
    await hold_format(tx, workspace_id, draft.format)
    payload = await find_payload(tx, workspace_id, draft.format)
    return (
        draft
        if payload is None
        else msgspec.structs.replace(draft, event_types=payload.subscriptions(draft.event_types))
    )


def make_secret(signature: str, given: str | None) -> str | None:
    """Generate a signing secret, or check the given one against the kind of signature; None for the kind `none`."""
    if signature == UNSIGNED:
        return None
    if given is not None:
        if not given.startswith(PREFIXES[signature]):
            raise Invalid(
                f"A secret for {signature} signatures starts with {PREFIXES[signature]}.", code="invalid_secret"
            )
        signer(given)
        return given
    return encode_secret(os.urandom(SECRET_BYTES)) if signature == "v1" else encode_private_key(os.urandom(SEED))


def open_webhook(record: dict[str, Any], encryption: Encryption) -> WebhookRecord:
    """Return the endpoint of a row of `endpoints.get`."""
    return WebhookRecord(
        **{name: record[name] for name in _PLAIN},
        event_types=_types.decode(record["event_types"]),
        filter=_object.decode(record["filter"]) if record["filter"] else None,
        headers=_headers.decode(encryption.decrypt(record["headers"])),
        secrets=_secrets.decode(encryption.decrypt(record["secrets"])),
        ordered=bool(record["ordered"]),
    )


_PLAIN = tuple(set(WebhookRecord.__struct_fields__) - {"event_types", "filter", "headers", "ordered", "secrets"})


async def create_webhook(
    tx: Tx,
    ids: Ids,
    encryption: Encryption,
    workspace_id: int,
    draft: Draft,
    signature: str,
    secret: str | None,
    now: int,
) -> WebhookRecord:
    """Create an enabled endpoint from a checked draft."""
    row = await tx.row("endpoints.count", workspace_id=workspace_id)
    if row is not None and row[0] >= MOST_ENDPOINTS:
        raise Conflict(
            f"A workspace has at most {MOST_ENDPOINTS} webhook endpoints; delete one first.", code="too_many_endpoints"
        )
    id_ = ids.one(now)
    await tx.run(
        "endpoints.add",
        id=id_,
        workspace_id=workspace_id,
        signature=signature,
        secrets=_encrypt_secrets(encryption, () if secret is None else (Secret(secret),)),
        ordered=int(draft.ordered),
        now=now,
        **_columns(draft, encryption),
    )
    await tx.run("configurations.touch", area="webhooks", workspace_id=workspace_id)
    return await find_webhook(tx, encryption, workspace_id, id_)


async def find_webhook(tx: Tx, encryption: Encryption, workspace_id: int, id_: int) -> WebhookRecord:
    """Return an endpoint; raise NotFound if the workspace has none with this id."""
    records = await tx.records("endpoints.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise NotFound("There is no such webhook endpoint in this workspace; it may have been deleted.")
    return open_webhook(records[0], encryption)


async def list_webhooks(tx: Tx, encryption: Encryption, workspace_id: int, before: int, n: int) -> list[WebhookRecord]:
    """Return a page of endpoints, newest first."""
    records = await tx.records("endpoints.list", workspace_id=workspace_id, before=before, n=n)
    return [open_webhook(record, encryption) for record in records]


async def change_webhook(
    tx: Tx, encryption: Encryption, webhook: WebhookRecord, draft: Draft, now: int
) -> WebhookRecord:
    """Change an endpoint to a checked draft and return it."""
    await tx.run(
        "endpoints.change",
        workspace_id=webhook.workspace_id,
        id=webhook.id,
        now=now,
        **_columns(draft, encryption),
    )
    await tx.run("configurations.touch", area="webhooks", workspace_id=webhook.workspace_id)
    return await find_webhook(tx, encryption, webhook.workspace_id, webhook.id)


async def delete_webhook(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete an endpoint; a job marks its pending deliveries as dead."""
    if not await tx.run("endpoints.delete", workspace_id=workspace_id, id=id_, now=now):
        raise NotFound("There is no such webhook endpoint in this workspace; it may have been deleted.")
    await tx.run("replays.end", workspace_id=workspace_id, id=-1, endpoint_id=id_, now=now)
    await tx.run("configurations.touch", area="webhooks", workspace_id=workspace_id)


async def switch_webhook(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, enabled: bool, now: int
) -> WebhookRecord:
    """Enable or disable an endpoint for its owner and return it."""
    if enabled:
        changed = await tx.run("endpoints.enable", workspace_id=workspace_id, id=id_, now=now)
    else:
        changed = await tx.run("endpoints.disable", workspace_id=workspace_id, id=id_, reason=BY_OWNER, now=now)
    if changed:
        await tx.run("configurations.touch", area="webhooks", workspace_id=workspace_id)
    return await find_webhook(tx, encryption, workspace_id, id_)


async def rotate_secret(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, given: str | None, overlap_s: int, now: int
) -> WebhookRecord:
    """Give an endpoint a new secret; the previous one signs as well until the overlap ends."""
    webhook = await find_webhook(tx, encryption, workspace_id, id_)
    text = make_secret(webhook.signature, given)
    if text is None:
        raise not_signed()
    if any(secret.text == text for secret in webhook.secrets):
        raise Conflict("The endpoint uses this secret already; give another one.", code="secret_in_use")
    ends_at = now + overlap_s * SECOND
    older = [
        Secret(secret.text, min(secret.expires_at or ends_at, ends_at))
        for secret in webhook.secrets
        if overlap_s and (secret.expires_at is None or secret.expires_at > now)
    ]
    secrets = (Secret(text), *older[: MOST_SECRETS - 1])
    await tx.run(
        "endpoints.set_secrets",
        workspace_id=workspace_id,
        id=id_,
        secrets=_encrypt_secrets(encryption, secrets),
        now=now,
    )
    await tx.run("configurations.touch", area="webhooks", workspace_id=workspace_id)
    return await find_webhook(tx, encryption, workspace_id, id_)


def not_signed() -> Conflict:
    """Return the error for an endpoint without a secret."""
    return Conflict(
        "This endpoint was created with the signature none: it has no secret. Create one with v1 or v1a instead.",
        code="not_signed",
    )


async def count_deliveries(tx: Tx, workspace_id: int, ids: list[int]) -> dict[int, Balance]:
    """Return the ledger of endpoints."""
    found = {id_: Balance() for id_ in ids}
    for id_, *numbers in await tx.rows("counts.of_endpoints", workspace_id=workspace_id, ids=ids):
        found[id_] = Balance(*map(int, numbers))
    return found


def _columns(draft: Draft, encryption: Encryption) -> dict[str, Any]:
    return {
        "url": draft.url,
        "description": draft.description,
        "event_types": _encode(draft.event_types).decode(),
        "filter": None if draft.filter is None else _encode(draft.filter).decode(),
        "headers": encryption.encrypt(_encode(draft.headers).decode()),
        "rate_limit": draft.rate_limit,
        "concurrency": draft.concurrency,
        "timeout_ms": draft.timeout_ms,
        "format": draft.format,
        "owner_email": draft.owner_email,
        "connection_id": draft.connection_id,
        "user_id": draft.user_id,
        "user_name": draft.user_name,
    }


def _encrypt_secrets(encryption: Encryption, secrets: tuple[Secret, ...]) -> str:
    return encryption.encrypt(_encode(secrets).decode())
