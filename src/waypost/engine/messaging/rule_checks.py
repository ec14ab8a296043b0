"""Check sending rules in the transaction that claims messages: a few queries for all messages of a claim."""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from waypost.clock import HOUR
from waypost.domain.messaging.frequency_caps import RecentSend, not_ahead
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.sending_rules import (
    RuledMessage,
    SendingRules,
    cap_rules,
    check_caps,
    check_quiet_hours,
    counted_until,
    quiet_rules,
    still_counted,
)
from waypost.domain.messaging.status import MessageState, Transition
from waypost.domain.values.timezones import UTC_ZONE, find_zone, person_zone
from waypost.engine.messaging.transitions import MessagingNotes, Transitions
from waypost.storage.database import Tx

#: Rows are kept this much longer than caps count, because the clocks of processes differ.
_LONGER = HOUR

#: Returns the rules of a workspace, or None if it has none.
RulesOf = Callable[[int], SendingRules | None]

_encode = msgspec.json.Encoder().encode
_sends = msgspec.json.Decoder(list[RecentSend])


class RuleChecks:
    """What the rules of one workspace decide about the messages of one claim."""

    def __init__(self, rules: SendingRules | None, transitions: Transitions) -> None:
        self._rules = rules
        self._transitions = transitions
        #: The transitions of the messages that may not be sent now, by id.
        self.refused: dict[int, Transition] = {}
        #: What people were sent lately, with what this claim sends them.
        self._people: dict[str, list[RecentSend]] = {}
        #: The people whose sends changed.
        self._changed: set[str] = set()
        self._workspace_id = 0

    async def check(self, tx: Tx, messages: Iterable[tuple[MessageState, str]]) -> None:
        """Check messages, given with their purposes, and reserve a place in the caps of those that pass.

        A workspace without rules costs no query.
        """
        rules = self._rules
        if rules is None:
            return
        ruled: dict[int, tuple[MessageState, RuledMessage]] = {}
        for state, purpose in messages:
            message = RuledMessage(state.id, state.channel, purpose)
            if not state.test and (quiet_rules(rules, message) or cap_rules(rules, message)):
                ruled[state.id] = (state, message)
        if not ruled:
            return
        self._workspace_id = next(iter(ruled.values()))[0].workspace_id
        default = find_zone(rules.timezone) or UTC_ZONE
        people: dict[int, int | None] = {}
        for id_, held_at, exempt, person, timezone, phone in await tx.rows("sending_rules.facts", ids=list(ruled)):
            state, message = ruled[id_]
            message.held_at, message.exempt = held_at, exempt or 0
            number = state.address if state.channel == "sms" else phone
            message.zone = person_zone(timezone, number, default)
            people[id_] = person
        now = self._transitions.now
        passed: list[tuple[MessageState, RuledMessage]] = []
        for state, message in ruled.values():
            refusal = check_quiet_hours(rules, message, now, random.random())  # noqa: S311 jitter is no secret
            if refusal is not None:
                self.refused[state.id] = refusal
            elif cap_rules(rules, message):
                passed.append((state, message))
        if passed:
            await self._check_caps(tx, rules, passed, people)
        await self._hold(tx, ruled)

    async def _check_caps(
        self,
        tx: Tx,
        rules: SendingRules,
        messages: list[tuple[MessageState, RuledMessage]],
        people: Mapping[int, int | None],
    ) -> None:
        now = self._transitions.now
        keys = {state.id: person_key(state, people[state.id]) for state, _ in messages}
        self._people = await lock_people(tx, self._workspace_id, keys.values(), people.values())
        for person, sends in self._people.items():
            present = not_ahead(sends, now)
            if present != sends:
                # A clock that was ahead dated them. Written back, they are forgotten in due time.
                sends[:] = present
                self._changed.add(person)
        for state, message in messages:
            sends = self._people[keys[state.id]]
            refusal = check_caps(rules, message, sends, now, random.random())  # noqa: S311 jitter is no secret
            if refusal is not None:
                self.refused[state.id] = refusal
                continue
            sends[:] = [send for send in sends if send.message_id != state.id]
            sends.append(RecentSend(now, state.id, state.channel, message.purpose))
            self._changed.add(keys[state.id])

    async def _hold(self, tx: Tx, ruled: dict[int, tuple[MessageState, RuledMessage]]) -> None:
        """Store when messages were first held. Their validity does not pass while they are held."""
        now = self._transitions.now
        rows: list[tuple[Any, ...]] = []
        for id_, change in self.refused.items():
            if change.status is Status.HELD and change.due_at is not None:
                state, message = ruled[id_]
                state.expires_at += change.due_at - now
                rows.append((id_, now if message.held_at is None else message.held_at, state.expires_at))
                notes = self._transitions.unit.notes(MessagingNotes)
                notes.held_until = min(change.due_at, notes.held_until or change.due_at)
        await tx.insert("messages.hold", rows)

    async def write(self, tx: Tx, unsent: Iterable[int]) -> None:
        """Store what people are sent by this claim, without the messages of it that are not sent after all."""
        rules = self._rules
        if rules is None or not self._changed:
            return
        left_out = set(unsent)
        rows = []
        for person in sorted(self._changed):
            sends = [send for send in self._people[person] if send.message_id not in left_out]
            rows.append(_row(self._workspace_id, person, sends, rules, self._transitions.now))
        await tx.insert("recent_sends.write", rows)


def person_key(state: MessageState, profile_id: int | None) -> str:
    """Return whose sends a message counts among: those of its profile, or else of its address."""
    return str(profile_id) if profile_id is not None else f"{state.channel}:{state.address}"


async def lock_people(
    tx: Tx, workspace_id: int, keys: Iterable[str], profiles: Iterable[int | None]
) -> dict[str, list[RecentSend]]:
    """Return what people were sent lately, locked. That of profiles that were merged into one counts for that one."""
    people = set(keys)
    ids = sorted({id_ for id_ in profiles if id_ is not None and str(id_) in people})
    merged: dict[str, str] = {}
    if ids:
        merged = {str(id_): str(into) for into, id_ in await tx.rows("profiles.merged_into_many", ids=ids)}
    found: dict[str, dict[int, RecentSend]] = {key: {} for key in people}
    rows = await tx.rows("recent_sends.lock", workspace_id=workspace_id, people=sorted(people | merged.keys()))
    for row in rows:
        key: str = row[0]
        found[merged.get(key, key)].update({send.message_id: send for send in _sends.decode(row[1])})
    return {key: sorted(sends.values()) for key, sends in found.items()}


async def give_back(tx: Tx, states: Iterable[MessageState], rules_of: RulesOf, now: int) -> None:
    """Give back the places in frequency caps of messages that were certainly not sent.

    Workspaces without frequency caps cost no query.
    """
    by_workspace: dict[int, dict[int, MessageState]] = {}
    for state in states:
        if not state.test:
            by_workspace.setdefault(state.workspace_id, {})[state.id] = state
    for workspace_id, unsent in sorted(by_workspace.items()):
        rules = rules_of(workspace_id)
        if rules is not None and rules.frequency_caps:
            await _give_back(tx, workspace_id, unsent, rules, now)


async def _give_back(tx: Tx, workspace_id: int, unsent: dict[int, MessageState], rules: SendingRules, now: int) -> None:
    profiles = sorted({state.profile_id for state in unsent.values() if state.profile_id is not None})
    survivors: dict[int, int] = dict(await tx.rows("recent_sends.survivors", ids=profiles)) if profiles else {}
    keys = {person_key(state, state.profile_id) for state in unsent.values()}
    keys |= {str(id_) for id_ in survivors.values()}
    rows = []
    for person, text in await tx.rows("recent_sends.lock", workspace_id=workspace_id, people=sorted(keys)):
        sends = _sends.decode(text)
        kept = [send for send in sends if send.message_id not in unsent]
        if len(kept) < len(sends):
            rows.append(_row(workspace_id, person, kept, rules, now))
    await tx.insert("recent_sends.write", sorted(rows))


def _row(workspace_id: int, person: str, sends: list[RecentSend], rules: SendingRules, now: int) -> tuple[Any, ...]:
    kept = still_counted(rules, sends, now)
    until = max((counted_until(rules, send) for send in kept), default=now)
    return workspace_id, person, _encode(kept).decode(), until + _LONGER
