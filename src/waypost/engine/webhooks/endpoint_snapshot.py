"""Load the enabled webhook endpoints of workspaces, decrypt them, and keep them in memory."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from waypost.domain.webhooks.endpoint import Endpoint, Secret, Subscriptions
from waypost.domain.webhooks.payload_format import PayloadFormat
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.webhooks.payload_formats import load_formats
from waypost.storage.database import Database, Row, Tx

_types = msgspec.json.Decoder(tuple[str, ...])
_object = msgspec.json.Decoder(dict[str, Any])
_headers = msgspec.json.Decoder(dict[str, str])
_secrets = msgspec.json.Decoder(tuple[Secret, ...])


class EndpointSnapshot(msgspec.Struct, frozen=True):
    """The enabled endpoints of one workspace at one version."""

    version: int
    endpoints: dict[int, Endpoint]
    subscriptions: Subscriptions


def open_endpoint(row: Row, encryption: Encryption, formats: Mapping[tuple[int, str], PayloadFormat]) -> Endpoint:
    """Return the endpoint of a row of `endpoints.enabled`, with its secrets and headers decrypted."""
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
        ordered,
        connection_id,
        user_id,
        user_name,
        version,
    ) = row
    return Endpoint(
        id=id_,
        workspace_id=workspace_id,
        url=url,
        event_types=_types.decode(types),
        filter=_object.decode(condition) if condition else None,
        headers=tuple(f"{name}: {value}" for name, value in _headers.decode(encryption.decrypt(headers)).items()),
        rate_limit=rate_limit,
        concurrency=concurrency,
        timeout_ms=timeout_ms,
        format=format_,
        secrets=_secrets.decode(encryption.decrypt(secrets)),
        ordered=bool(ordered),
        connection_id=connection_id,
        payload=formats.get((workspace_id, format_)),
        user_id=user_id,
        user_name=user_name,
        version=version,
    )


class EndpointRegistry:
    """The enabled endpoints of every workspace, in memory; `refresh` loads the changes that other processes made."""

    def __init__(
        self,
        database: Database,
        encryption: Encryption,
        configure: Callable[[Iterable[Endpoint], Iterable[int]], None],
    ) -> None:
        self._database = database
        self._encryption = encryption
        #: Called with the endpoints that changed, and with the ids of those that were disabled or deleted.
        self._configure = configure
        self._snapshots: dict[int, EndpointSnapshot] = {}

    async def refresh(self, workspaces: list[int] | None = None) -> None:
        """Reload the endpoints of workspaces that changed; of all known workspaces when none are given."""
        known = list(self._snapshots) if workspaces is None else workspaces
        self.adopt(await self._database.read(self.load_changed, known))

    async def load_changed(self, tx: Tx, workspaces: list[int]) -> dict[int, EndpointSnapshot]:
        """Return new snapshots of workspaces that are unknown or changed; one small query when none did."""
        rows = await tx.rows("configurations.versions", ids=workspaces, area="webhooks")
        known = self._snapshots
        stale = {id_: version for id_, version in rows if (found := known.get(id_)) is None or found.version != version}
        if not stale:
            return {}
        endpoints: dict[int, dict[int, Endpoint]] = {id_: {} for id_ in stale}
        rows = await tx.rows("endpoints.enabled", ids=list(stale))
        formats = await load_formats(tx, {(row[1], row[9]) for row in rows})
        for row in rows:
            before = known.get(row[1])
            same = before.endpoints.get(row[0]) if before else None
            # Decryption is slow, so an unchanged endpoint is not decrypted again.
            unchanged = same is not None and same.version == row[-1]
            endpoint = same if same is not None and unchanged else open_endpoint(row, self._encryption, formats)
            endpoints[endpoint.workspace_id][endpoint.id] = endpoint
        return {
            id_: EndpointSnapshot(version, endpoints[id_], Subscriptions(list(endpoints[id_].values())))
            for id_, version in stale.items()
        }

    def adopt(self, fresh: dict[int, EndpointSnapshot]) -> None:
        """Use these snapshots from now on; drop those that are older than the present ones."""
        for id_, snapshot in fresh.items():
            before = self._snapshots.get(id_)
            if before is not None and before.version >= snapshot.version:
                continue
            self._snapshots[id_] = snapshot
            gone = set(before.endpoints) - set(snapshot.endpoints) if before else set()
            self._configure(snapshot.endpoints.values(), gone)

    def snapshot(self, workspace_id: int) -> EndpointSnapshot | None:
        """Return the enabled endpoints of a workspace as last loaded."""
        return self._snapshots.get(workspace_id)

    async def find(self, workspace_id: int, endpoint_id: int) -> Endpoint | None:
        """Return an enabled endpoint, even one that another process has just created."""
        found = self._find(workspace_id, endpoint_id)
        if found is None:
            await self.refresh([workspace_id])
            found = self._find(workspace_id, endpoint_id)
        return found

    def _find(self, workspace_id: int, endpoint_id: int) -> Endpoint | None:
        snapshot = self._snapshots.get(workspace_id)
        return snapshot.endpoints.get(endpoint_id) if snapshot else None
