"""The sending rules of all workspaces in memory, and how they are stored."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

import msgspec

from waypost.domain.messaging.sending_rules import SendingRules
from waypost.domain.values.ids import public
from waypost.domain.values.timezones import UTC_ZONE, find_zone
from waypost.engine.runtime.configurations import changed_versions
from waypost.storage.database import Database, Row, Tx

AREA = "sending_rules"

_encode = msgspec.json.Encoder().encode
_rules = msgspec.json.Decoder(SendingRules)


class SendingRulesRegistry:
    """The sending rules of all workspaces; changes made elsewhere are known after the next `refresh`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions: dict[int, int] = {}
        #: Those of workspaces with quiet hours or frequency caps.
        self._rules: dict[int, SendingRules] = {}
        self._zones: dict[int, ZoneInfo] = {}

    def get(self, workspace_id: int) -> SendingRules | None:
        """Return the rules of a workspace, or None if it has neither quiet hours nor frequency caps."""
        return self._rules.get(workspace_id)

    def zone(self, workspace_id: int) -> ZoneInfo:
        """Return the time zone of a workspace: that of people of whom none is known."""
        return self._zones.get(workspace_id, UTC_ZONE)

    async def refresh(self, workspaces: Iterable[int] | None = None) -> None:
        """Read the rules of workspaces that changed; of all workspaces if none are given."""
        given = None if workspaces is None else list(workspaces)
        versions, rows = await self._database.read(self._load, given)
        for workspace_id, zone, text in rows:
            if versions[workspace_id] > self._versions.get(workspace_id, 0):
                self._versions[workspace_id] = versions[workspace_id]
                self._keep(workspace_id, _read(zone, text))

    def _keep(self, workspace_id: int, rules: SendingRules) -> None:
        self._zones[workspace_id] = find_zone(rules.timezone) or UTC_ZONE
        if rules.quiet_hours or rules.frequency_caps:
            self._rules[workspace_id] = rules
        else:
            self._rules.pop(workspace_id, None)

    async def _load(self, tx: Tx, workspaces: list[int] | None) -> tuple[dict[int, int], list[Row]]:
        versions = await changed_versions(tx, AREA, self._versions, workspaces)
        return versions, await tx.rows("sending_rules.of_workspaces", ids=sorted(versions)) if versions else []


async def save_rules(
    tx: Tx,
    workspace_id: int,
    rules: SendingRules,
    caller_id: int,
    now: int,
    version: int | None = None,
    time_zone: str | None = None,
) -> bool:
    """Store the rules of a workspace, and which key or user changed them; processes learn of them by their version.

    The time zone of the workspace stays, unless one is given. Return False, and store nothing, if a version is given
    and the rules have another one.
    """
    # First, because it locks: two changes of the same version come one after the other.
    await tx.run("configurations.touch", area=AREA, workspace_id=workspace_id)
    if version is not None and (await load_rules(tx, workspace_id))[1] != version:
        return False
    await tx.run(
        "sending_rules.set",
        workspace_id=workspace_id,
        rules=_encode({"quiet_hours": rules.quiet_hours, "frequency_caps": rules.frequency_caps}).decode(),
        updated_by=caller_id,
        now=now,
    )
    if time_zone is not None:
        await tx.run("workspaces.set_time_zone", id=workspace_id, time_zone=time_zone)
    return True


async def set_time_zone(tx: Tx, workspace_id: int, name: str, caller_id: int, now: int) -> None:
    """Change the time zone of a workspace. Its sending rules, if it has any, show it and get another version."""
    # First, because it locks.
    await tx.run("configurations.touch", area=AREA, workspace_id=workspace_id)
    await tx.run("workspaces.set_time_zone", id=workspace_id, time_zone=name)
    await tx.run("sending_rules.zone_changed", workspace_id=workspace_id, updated_by=caller_id, now=now)


async def load_rules(tx: Tx, workspace_id: int) -> tuple[SendingRules, int, int | None, str | None]:
    """Return the rules of a workspace, their version, and when and by whom they were last changed."""
    row = await tx.row("sending_rules.get", workspace_id=workspace_id)
    if row is None:
        return SendingRules(), 0, None, None
    zone, text, version, updated_at, updated_by, is_user = row
    if text is None:
        return _read(zone, None), 0, None, None
    return _read(zone, text), version, updated_at, public("usr" if is_user else "key", updated_by)


def _read(zone: str, text: str | None) -> SendingRules:
    """Return the rules that are stored as `text`, with the time zone of their workspace."""
    rules = SendingRules() if text is None else _rules.decode(text)
    return msgspec.structs.replace(rules, timezone=zone)
