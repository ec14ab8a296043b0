"""The goals of campaigns, in memory: which events count as conversions, and for how long."""

from collections.abc import Iterable

from waypost.clock import first_id, now_us
from waypost.domain.campaigns.campaign import LONGEST_WINDOW, CampaignState
from waypost.domain.events.event import Event
from waypost.domain.events.segment import metric_type
from waypost.domain.values.durations import parse_duration
from waypost.engine.campaigns.campaigns import AREA, read_definition
from waypost.engine.runtime.configurations import changed_versions
from waypost.storage.database import Database, Tx


class GoalRegistry:
    """The goals of campaigns that began; changes made elsewhere are known after the next `refresh`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions: dict[int, int] = {}
        #: By workspace: the occurrences and windows that each type of event counts for.
        self._goals: dict[int, dict[str, list[tuple[int, int]]]] = {}

    def of(self, events: list[Event]) -> list[tuple[int, int, int, int]]:
        """Return what these events count for: occurrence, profile, time and window of the goal."""
        found: list[tuple[int, int, int, int]] = []
        if not self._goals:
            return found
        for event in events:
            goals = self._goals.get(event.workspace_id)
            if goals is None or event.profile_id is None or event.type not in goals:
                continue
            for occurrence_id, within in goals[event.type]:
                found.append((occurrence_id, event.profile_id, event.occurred_at, within))
        return found

    async def refresh(self, workspaces: Iterable[int] | None = None) -> None:
        """Read the goals of workspaces whose campaigns changed; of all workspaces if none are given."""
        given = None if workspaces is None else list(workspaces)
        changed, goals = await self._database.read(self._load, given)
        for workspace_id, version in changed.items():
            self._versions[workspace_id] = version
            self._goals.pop(workspace_id, None)
            if workspace_id in goals:
                self._goals[workspace_id] = goals[workspace_id]

    async def _load(
        self, tx: Tx, workspaces: list[int] | None
    ) -> tuple[dict[int, int], dict[int, dict[str, list[tuple[int, int]]]]]:
        stale = await changed_versions(tx, AREA, self._versions, workspaces)
        goals: dict[int, dict[str, list[tuple[int, int]]]] = {}
        if stale:
            for workspace_id, occurrence_id, definition, state in await tx.rows(
                "occurrences.goals", ids=sorted(stale), since=first_id(now_us() - LONGEST_WINDOW)
            ):
                conversion = read_definition(definition).conversion
                if conversion is None or state == CampaignState.CANCELLED:
                    continue
                within = parse_duration(conversion.within, "conversion.within")
                # Named as a metric is, or as a type of event.
                for type_ in {conversion.event, metric_type(conversion.event)}:
                    goals.setdefault(workspace_id, {}).setdefault(type_, []).append((occurrence_id, within))
        return stale, goals
