"""Webhook endpoints between the database, where their secrets are sealed, and the engine, which sends with them."""

from typing import Any

import msgspec

from waypost.domain.webhooks.endpoint import Endpoint, Secret, Subscriptions
from waypost.engine.runtime.encryption import Encryption
from waypost.storage.database import Row, Tx

_types = msgspec.json.Decoder(tuple[str, ...])
_object = msgspec.json.Decoder(dict[str, Any])
_headers = msgspec.json.Decoder(dict[str, str])
_secrets = msgspec.json.Decoder(tuple[Secret, ...])


class EndpointSnapshot(msgspec.Struct, frozen=True):
    """The enabled endpoints of one workspace at one version."""

    version: int
    endpoints: dict[int, Endpoint]
    subscriptions: Subscriptions


def open_endpoint(row: Row, encryption: Encryption) -> Endpoint:
    """The endpoint of a row of `endpoints.enabled`, with its secrets and headers in the clear."""
    (
        id_,
        workspace_id,
        url,
        types,
        condition,
        headers,
        rate_limit,
        concurrency,
        timeout_ms,
        format_,
        secrets,
        version,
    ) = row
    return Endpoint(
        id=id_,
        workspace_id=workspace_id,
        url=url,
        event_types=_types.decode(types),
        filter=_object.decode(condition) if condition else None,
        headers=tuple(f"{name}: {value}" for name, value in _headers.decode(encryption.open(headers)).items()),
        rate_limit=rate_limit,
        concurrency=concurrency,
        timeout_ms=timeout_ms,
        format=format_,
        secrets=_secrets.decode(encryption.open(secrets)),
        version=version,
    )


async def load_endpoints(
    tx: Tx, known: dict[int, EndpointSnapshot], workspaces: list[int], encryption: Encryption
) -> dict[int, EndpointSnapshot]:
    """The configurations of some workspaces that are not known, or changed since: one small query when nothing did."""
    rows = await tx.rows("workspaces.versions", ids=workspaces)
    stale = {id_: version for id_, version in rows if (found := known.get(id_)) is None or found.version != version}
    if not stale:
        return {}
    endpoints: dict[int, dict[int, Endpoint]] = {id_: {} for id_ in stale}
    for row in await tx.rows("endpoints.enabled", ids=list(stale)):
        before = known.get(row[1])
        same = before.endpoints.get(row[0]) if before else None
        # Opening secrets is slow; an endpoint that did not change is not opened again.
        endpoint = same if same is not None and same.version == row[-1] else open_endpoint(row, encryption)
        endpoints[endpoint.workspace_id][endpoint.id] = endpoint
    return {
        id_: EndpointSnapshot(version, endpoints[id_], Subscriptions(list(endpoints[id_].values())))
        for id_, version in stale.items()
    }
