"""One batch, one transaction: dedupe, fold, decide, enqueue, count. The only writer of consequences."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from waypost.clock import Ids, now_us
from waypost.domain.deliveries import Outcome, State, settle
from waypost.domain.events import Entry
from waypost.domain.profiles import Claim, IdentityKey, Profile, Resolver, Traits, to_load
from waypost.domain.webhooks import Endpoint, event_object, webhook_body
from waypost.engine.dispatcher import Attempt, Dispatcher, Task
from waypost.engine.endpoints import Configuration, load_configurations
from waypost.engine.journal import Batch, Journal, settle_futures
from waypost.engine.notices import disabled_notice
from waypost.engine.vault import Vault
from waypost.errors import Conflict, Error, Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: How long to wait before attempts are recorded again after the store was away.
PAUSE_S = 0.5
#: How often a batch is tried again because another process was at the same.
CONFLICTS = 5
#: Rows of the ledger per endpoint, over which processes spread their counting.
COUNT_ROWS = 8

_encode = msgspec.json.Encoder().encode
_keys = msgspec.json.Decoder(list[tuple[int, int, str]])
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])
_pairs = msgspec.json.Decoder(list[tuple[int, int]])
_traits = msgspec.json.Decoder(Traits)


class Lost(Exception):
    """Some of what was to be settled is no longer held by this process."""


class Recorded(msgspec.Struct):
    """What a committed batch gives to the rest of the engine."""

    #: Fresh deliveries, held by this process.
    tasks: list[Task]
    #: Endpoints of which some deliveries had to stay in the database.
    spilled: set[int]
    configurations: dict[int, Configuration]
    #: Endpoints that were disabled.
    disabled: list[int]
    types: set[tuple[int, str]]
    #: When the first of the scheduled retries falls due.
    due_at: int | None
    events: int
    duplicates: int


class Counts:
    """Changes to the ledger, per endpoint: accepted, delivered, pending, dead."""

    def __init__(self) -> None:
        self._changes: dict[tuple[int, int], list[int]] = {}

    def add(self, workspace_id: int, endpoint_id: int, accepted: int, delivered: int, pending: int, dead: int) -> None:
        """Note a change."""
        row = self._changes.setdefault((endpoint_id, workspace_id), [0, 0, 0, 0])
        row[0] += accepted
        row[1] += delivered
        row[2] += pending
        row[3] += dead

    async def write(self, tx: Tx, node: int) -> None:
        """Write the changes; in the order of the endpoints, so that two transactions cannot wait for each other."""
        rows = [
            (endpoint, node % COUNT_ROWS, workspace, *row)
            for (endpoint, workspace), row in sorted(self._changes.items())
        ]
        await tx.insert("counts.add", rows)


class Recorder:
    """Takes batches from the journal, records them, and hands what follows to the dispatcher."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        dispatcher: Dispatcher,
        ids: Ids,
        vault: Vault,
        *,
        retry_base: float,
        wake_at: Callable[[int], None],
    ) -> None:
        self._database = database
        self._journal = journal
        self._dispatcher = dispatcher
        self._ids = ids
        self._vault = vault
        self._retry_base = retry_base
        self._wake_at = wake_at
        self._configurations: dict[int, Configuration] = {}
        self._types: set[tuple[int, str]] = set()
        self.events = 0
        self.duplicates = 0
        self.batches = 0

    async def run(self) -> None:
        """Record batches until the journal is closed and empty."""
        while batch := await self._journal.next_batch():
            await self.record(batch)

    async def record(self, batch: Batch) -> None:
        """Record one batch and tell everybody how it went."""
        careful, conflicts = False, 0
        while True:
            try:
                recorded = await self._database.transact(self._apply, batch, now_us(), careful)
                break
            except Lost:
                careful = True
            except Unavailable as error:
                await self._fail(batch, error)
                return
            except Conflict as error:
                # Another process recorded the same message or person a moment ago; this time it will be seen.
                conflicts += 1
                if conflicts > CONFLICTS:
                    await self._split(batch, error)
                    return
            except Exception as error:
                log.exception("a batch could not be recorded", action="batch_failed")
                await self._split(batch, error)
                return
        self.batches += 1
        self.events += recorded.events
        self.duplicates += recorded.duplicates
        self._configurations.update(recorded.configurations)
        self._types |= recorded.types
        settle_futures(batch, None)
        self._dispatcher.offer(recorded.tasks)
        for endpoint_id in recorded.spilled:
            self._dispatcher.note_spilled(endpoint_id, True)
        if recorded.disabled:
            self._dispatcher.configure([], recorded.disabled)
        if recorded.due_at is not None:
            self._wake_at(recorded.due_at)

    async def refresh(self, workspaces: list[int]) -> None:
        """Read the endpoints of workspaces again where they changed, and let the lanes know."""
        fresh = await self._database.read(load_configurations, self._configurations, workspaces, self._vault)
        for id_, configuration in fresh.items():
            before = self._configurations.get(id_)
            self._configurations[id_] = configuration
            gone = set(before.endpoints) - set(configuration.endpoints) if before else set()
            self._dispatcher.configure(configuration.endpoints.values(), gone)

    def workspaces(self) -> list[int]:
        """The workspaces whose endpoints are known here."""
        return list(self._configurations)

    def endpoint(self, workspace_id: int, endpoint_id: int) -> Endpoint | None:
        """An enabled endpoint as last read."""
        found = self._configurations.get(workspace_id)
        return found.endpoints.get(endpoint_id) if found else None

    async def _fail(self, batch: Batch, error: Error) -> None:
        """The store is away: everybody is told, and what happened already is recorded later."""
        settle_futures(batch, error)
        if batch.attempts or batch.released:
            self._journal.put_back(Batch([], batch.attempts, batch.released))
            await asyncio.sleep(PAUSE_S)

    async def _split(self, batch: Batch, error: Exception) -> None:
        """Something in the batch cannot be recorded: record its parts one by one, so that it harms only itself."""
        parts = [Batch([group], [], []) for group in batch.groups]
        parts += [Batch([], [attempt], []) for attempt in batch.attempts]
        parts += [Batch([], [], batch.released)] if batch.released else []
        if len(parts) > 1:
            for part in parts:
                await self.record(part)
            return
        log.error("this cannot be recorded", action="record_failed", error=str(error), attempts=len(batch.attempts))
        settle_futures(
            batch, error if isinstance(error, Error) else Unavailable("It could not be stored. Send it again.")
        )

    async def _apply(self, tx: Tx, batch: Batch, now: int, careful: bool) -> Recorded:
        recorded = Recorded([], set(), {}, [], set(), None, 0, 0)
        counts = Counts()
        if batch.released:
            await tx.run("deliveries.release", rows=_encode(batch.released).decode(), node=self._ids.node)
            recorded.due_at = now
        if batch.attempts:
            await self._settle(tx, batch.attempts, now, careful, counts, recorded)
        entries = batch.entries
        if entries:
            fresh = await self._unknown(tx, entries)
            recorded.events = len(fresh)
            recorded.duplicates = len(entries) - len(fresh)
            if fresh:
                await self._record_events(tx, fresh, now, counts, recorded)
        await counts.write(tx, self._ids.node)
        return recorded

    async def _unknown(self, tx: Tx, entries: list[Entry]) -> list[Entry]:
        """The entries whose message was never seen; a repeat drops out, within the batch too."""
        by_key: dict[int, Entry] = {}
        fresh = []
        for entry in entries:
            first = by_key.setdefault(entry.message_key, entry)
            if first is entry:
                fresh.append(entry)
            elif (first.workspace_id, first.message_id) != (entry.workspace_id, entry.message_id):
                fresh.append(_keyless(entry))
        found = await tx.row("events.known", keys=list(by_key))
        if found is None or found[0] == "[]":
            return fresh
        seen = {key: (workspace_id, message_id) for key, workspace_id, message_id in _keys.decode(found[0])}
        kept = []
        for entry in fresh:
            before = seen.get(entry.message_key)
            if before is None:
                kept.append(entry)
            elif before != (entry.workspace_id, entry.message_id):
                kept.append(_keyless(entry))
        return kept

    async def _record_events(self, tx: Tx, entries: list[Entry], now: int, counts: Counts, recorded: Recorded) -> None:
        profile_ids = await self._resolve(tx, entries, now)
        ids = self._ids.take(len(entries), now)
        await tx.insert(
            "events.insert",
            [
                (
                    event_id,
                    entry.workspace_id,
                    entry.message_key or None,
                    entry.message_id,
                    entry.type,
                    profile_id,
                    entry.occurred_at,
                    entry.data.decode(),
                )
                for event_id, entry, profile_id in zip(ids, entries, profile_ids, strict=True)
            ],
        )
        await self._note_types(tx, entries, now, recorded)
        workspaces = list({entry.workspace_id for entry in entries})
        recorded.configurations = await load_configurations(tx, self._configurations, workspaces, self._vault)
        configurations = self._configurations | recorded.configurations
        room: dict[int, int] = {}
        rows: list[tuple[Any, ...]] = []
        tasks = recorded.tasks
        node = self._ids.node
        for event_id, entry, profile_id in zip(ids, entries, profile_ids, strict=True):
            configuration = configurations.get(entry.workspace_id)
            if configuration is None or not configuration.endpoints:
                continue
            body = _Body(entry, event_id, profile_id)
            for endpoint in configuration.subscriptions.wanting(entry.type, body):
                left = room.get(endpoint.id)
                if left is None:
                    left = self._dispatcher.room(endpoint.id)
                room[endpoint.id] = left - 1
                if left > 0:
                    tasks.append(Task(endpoint, event_id, body(), 0, 0))
                    rows.append((endpoint.id, event_id, "pending", 0, 0, now, node, None, None))
                else:
                    recorded.spilled.add(endpoint.id)
                    rows.append((endpoint.id, event_id, "pending", 0, 0, now, None, None, None))
                counts.add(endpoint.workspace_id, endpoint.id, 1, 0, 1, 0)
        await tx.insert("deliveries.insert", rows)
        if recorded.spilled:
            recorded.due_at = now

    async def _note_types(self, tx: Tx, entries: list[Entry], now: int, recorded: Recorded) -> None:
        new = {
            (entry.workspace_id, entry.type): entry.metric
            for entry in entries
            if entry.metric is not None and (entry.workspace_id, entry.type) not in self._types
        }
        if new:
            await tx.insert("event_types.insert", [(*key, metric, now) for key, metric in sorted(new.items())])
            recorded.types = set(new)

    async def _resolve(self, tx: Tx, entries: list[Entry], now: int) -> list[int]:
        """The profiles that the entries are about, with everything that follows for profiles written."""
        wanted: dict[IdentityKey, None] = {}
        for entry in entries:
            for kind, value in entry.identifiers:
                wanted[(entry.workspace_id, kind, value)] = None
        found = await tx.row("identities.find", wanted=_encode(list(wanted)).decode())
        claims = {
            (workspace_id, kind, value): Claim(profile_id, claimed_at)
            for workspace_id, kind, value, profile_id, claimed_at in _claims.decode(found[0] if found else "[]")
        }
        known = set(claims)
        profiles: dict[int, Profile] = {}
        to_read = to_load(entries, claims)
        if to_read:
            for id_, workspace_id, traits, created_at, merged_into, has_user in await tx.rows(
                "profiles.load", ids=sorted(to_read)
            ):
                profiles[id_] = Profile(
                    id=id_,
                    workspace_id=workspace_id,
                    traits=_traits.decode(traits),
                    created_at=created_at,
                    known=bool(has_user),
                    merged_into=merged_into,
                )
        resolver = Resolver(claims, profiles, lambda: self._ids.one(now))
        profile_ids = [resolver.resolve(entry) for entry in entries]
        await self._write_profiles(tx, resolver, known, now)
        return profile_ids

    async def _write_profiles(self, tx: Tx, resolver: Resolver, known: set[IdentityKey], now: int) -> None:
        def rows(profiles: Any) -> list[tuple[Any, ...]]:
            return [
                (p.id, p.workspace_id, p.merged_into, _encode(p.traits).decode(), p.created_at, now) for p in profiles
            ]

        await tx.insert("profiles.insert", rows(resolver.created))
        changed = sorted(resolver.changed_profiles(), key=lambda profile: profile.id)
        await tx.insert("profiles.update", rows(changed))
        claimed = sorted(
            ((key, claim) for key, claim in resolver.claims.items() if claim.changed), key=lambda pair: pair[0]
        )
        await tx.insert("identities.insert", [(*k, c.profile_id, c.claimed_at) for k, c in claimed if k not in known])
        await tx.insert("identities.reclaim", [(*k, c.profile_id, c.claimed_at) for k, c in claimed if k in known])
        if resolver.merged:
            gone = sorted({loser for loser, _ in resolver.merged})
            await tx.run("profiles.follow", ids=gone)
            await tx.run("identities.move", ids=gone)

    async def _settle(
        self, tx: Tx, attempts: list[Attempt], now: int, careful: bool, counts: Counts, recorded: Recorded
    ) -> None:
        """Write what attempts came to, and what follows for their endpoints."""
        node = self._ids.node
        if careful:
            pairs = _encode([(a.endpoint_id, a.event_id) for a in attempts]).decode()
            found = await tx.row("deliveries.held", rows=pairs, node=node)
            held = set(_pairs.decode(found[0] if found else "[]"))
        settled = []
        log_rows = []
        disable: dict[int, tuple[Attempt, str]] = {}
        failed: dict[int, Attempt] = {}
        for attempt, attempt_id in zip(attempts, self._ids.take(len(attempts), now), strict=True):
            response = attempt.response
            log_rows.append(
                (
                    attempt.endpoint_id,
                    attempt_id,
                    attempt.event_id,
                    attempt.number,
                    attempt.started_at,
                    response.duration_us,
                    response.status or response.seen_status,
                    _encode(response.headers).decode(),
                    response.body,
                    response.error,
                )
            )
            if careful and (attempt.endpoint_id, attempt.event_id) not in held:
                continue
            result = settle(
                attempt.outcome,
                attempt.tries,
                attempt.ended_at,
                retry_base=self._retry_base,
                chance=random.random(),  # noqa: S311 jitter is no secret
                retry_after=attempt.retry_after,
            )
            settled.append((attempt.endpoint_id, attempt.event_id, result.state, result.due_at, result.disable))
            if result.state is State.DELIVERED:
                counts.add(attempt.workspace_id, attempt.endpoint_id, 0, 1, -1, 0)
            elif result.state is State.DEAD:
                counts.add(attempt.workspace_id, attempt.endpoint_id, 0, 0, -1, 1)
            if result.due_at is not None and (recorded.due_at is None or result.due_at < recorded.due_at):
                recorded.due_at = result.due_at
            if attempt.outcome is not Outcome.DELIVERED:
                failed[attempt.endpoint_id] = attempt
            if result.disable is not None:
                disable.setdefault(attempt.endpoint_id, (attempt, result.disable))
        await tx.insert("attempts.insert", log_rows)
        changed = await tx.run("deliveries.settle", rows=_encode(settled).decode(), node=node, now=now)
        if changed != len(settled):
            # Somebody else settled some of them; count again, looking first.
            raise Lost
        for endpoint_id, attempt in failed.items():
            await tx.run("endpoints.note_error", id=endpoint_id, error=explain(attempt), now=attempt.ended_at)
        for endpoint_id, (attempt, reason) in disable.items():
            await self._disable(tx, endpoint_id, attempt, reason, now, recorded)

    async def _disable(
        self, tx: Tx, endpoint_id: int, attempt: Attempt, reason: str, now: int, recorded: Recorded
    ) -> None:
        """Disable an endpoint and put the notice to its owner in the same transaction."""
        workspace_id = attempt.workspace_id
        if not await tx.run("endpoints.disable", workspace_id=workspace_id, id=endpoint_id, reason=reason, now=now):
            return
        await tx.run("workspaces.touch", workspace_id=workspace_id)
        recorded.disabled.append(endpoint_id)
        records = await tx.records("endpoints.by_ids", ids=[endpoint_id])
        notice = disabled_notice(self._ids.one(now), records[0], reason, explain(attempt), now)
        await tx.insert("notices.add", [notice])
        recorded.due_at = now
        log.warning(
            "endpoint disabled", action="endpoint_disabled", endpoint=endpoint_id, reason=reason, error=explain(attempt)
        )


class _Body:
    """A webhook's body, made when first asked for and then shared by all who want it."""

    __slots__ = ("_body", "_entry", "_event_id", "_profile_id")

    def __init__(self, entry: Entry, event_id: int, profile_id: int | None) -> None:
        self._entry, self._event_id, self._profile_id = entry, event_id, profile_id
        self._body: bytes | None = None

    def __call__(self) -> bytes:
        if self._body is None:
            entry = self._entry
            data = event_object(self._event_id, entry.message_id, self._profile_id, entry.data)
            self._body = webhook_body(entry.type, entry.occurred_at, data)
        return self._body


def explain(attempt: Attempt) -> str:
    """What went wrong with an attempt, in one line."""
    response = attempt.response
    if response.error is not None:
        return response.error
    return f"status_{response.status}: the endpoint answered {response.status}, and only 2xx counts as received"


def _keyless(entry: Entry) -> Entry:
    """An entry whose key is another message's: kept, without protection against its own repeat (1 in 10^10)."""
    return msgspec.structs.replace(entry, message_key=0)
