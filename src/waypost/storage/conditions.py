"""Compile conditions of segments to SQL, for both databases. No part of a condition stands in the text of a query.

A condition becomes a test on a profile `p`. Facts that lie in other tables become sets of profile ids that the database
builds once: `p.id IN (…)`, for those who have done something, and `NOT p.id IN (…)` for those who have not. So are the
values of traits that have an index; people found by one of them need no look at their profiles.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from waypost.domain.audience.comparisons import Comparison
from waypost.domain.audience.conditions import (
    ADDRESSES,
    AllOf,
    AnyOf,
    Condition,
    EventTest,
    IdentifierTest,
    ListTest,
    Negation,
    SubscriptionTest,
    TagTest,
    TraitTest,
)
from waypost.domain.audience.trait_indexes import answers, excludes
from waypost.storage.condition_values import (
    Parameters,
    begins_with,
    compare_indexed,
    compare_json,
    fold_sql,
    has_part,
)
from waypost.storage.database import Select


class PeopleSet(msgspec.Struct):
    """People by any of several ways: members of lists, people for whom a condition holds, and single people."""

    lists: Sequence[int] = ()
    #: Without segments in them: see `expand`.
    conditions: Sequence[Condition] = ()
    profiles: Sequence[int] = ()


#: The complete indexes of traits: their ids by path.
Indexes = Mapping[tuple[str, ...], int]
_NONE: Indexes = {}


def select_ids(
    dialect: str,
    workspace_id: int,
    people: PeopleSet,
    excluded: PeopleSet,
    now: int,
    *,
    after: int = 0,
    n: int,
    indexes: Indexes = _NONE,
) -> Select:
    """Return the query for a page of the ids of these people without the excluded ones, in ascending order."""
    query = _SelectCompiler(dialect, workspace_id, now, indexes)
    found = query.people(people, excluded)
    first, most = query.parameters.add(after, "bigint"), query.parameters.add(n, "bigint")
    return query.select(f"SELECT p.id FROM {found} AND p.id > {first} ORDER BY p.id LIMIT {most}")


def count_ids(
    dialect: str, workspace_id: int, people: PeopleSet, excluded: PeopleSet, now: int, indexes: Indexes = _NONE
) -> Select:
    """Return the query for the number of these people without the excluded ones."""
    query = _SelectCompiler(dialect, workspace_id, now, indexes)
    return query.select(f"SELECT count(*) FROM {query.people(people, excluded)}")


def count_and_first(
    dialect: str, workspace_id: int, people: PeopleSet, now: int, n: int, indexes: Indexes = _NONE
) -> Select:
    """Return the query for the number of these people with each of the first `n`; no row if there are none.

    The sets that conditions about events need are built once.
    """
    query = _SelectCompiler(dialect, workspace_id, now, indexes)
    source = query.people(people, PeopleSet())
    most = query.parameters.add(n, "bigint")
    return query.select(
        f"SELECT (SELECT count(*) FROM found), f.id FROM found f ORDER BY f.id LIMIT {most}",
        found=f"SELECT p.id FROM {source}",
    )


class _SelectCompiler:
    """Compiles one query."""

    def __init__(self, dialect: str, workspace_id: int, now: int, indexes: Indexes) -> None:
        self.dialect = dialect
        self.parameters = Parameters(dialect)
        self._workspace = self.parameters.add(workspace_id, "bigint")
        self._now = now
        self._indexes = indexes
        self._merged = False
        #: Whether a test reads the traits of profiles.
        self._reads_traits = False

    def select(self, text: str, *, found: str | None = None) -> Select:
        """Return the query with everything that its parts refer to; `found` is a query for ids of that name."""
        parts = []
        if self._merged:
            merged = "SELECT id, merged_into FROM profiles WHERE merged_into IS NOT NULL"
            parts.append(f"merged (id, merged_into) AS MATERIALIZED ({merged})")
        if found is not None:
            parts.append(f"found (id) AS MATERIALIZED ({found})")
        return Select(f"WITH {', '.join(parts)} {text}" if parts else text, self.parameters.values)

    def people(self, people: PeopleSet, excluded: PeopleSet) -> str:
        """Return a source of profiles `p` with the test for the people of a set without the excluded ones."""
        indexed, tests = None, []
        if len(people.conditions) == 1 and not people.lists and not people.profiles:
            for part in _factors(people.conditions[0]):
                if indexed is None and isinstance(part, TraitTest) and part.path in self._indexes:
                    indexed, rest = self._indexed(part)
                    tests += rest
                else:
                    tests.append(self.test(part))
        else:
            tests.append(self._any(people))
        without = self._any(excluded)
        if without != "FALSE":
            tests.append(f"NOT {without}")
        if indexed is not None and not self._reads_traits:
            # An index has only profiles of its workspace that were not merged into others: nothing else is read.
            return f"({indexed}) p WHERE {' AND '.join(tests or ['TRUE'])}"
        if indexed is not None:
            tests.append(_among(indexed))
        every = " AND ".join(tests)
        return f"profiles p WHERE p.workspace_id = {self._workspace} AND p.merged_into IS NULL AND {every}"

    def _any(self, people: PeopleSet) -> str:
        tests = [self._list(list_id) for list_id in people.lists]
        tests += [self.test(condition) for condition in people.conditions]
        if people.profiles:
            ids = self.parameters.add(list(people.profiles), "bigint[]")
            found = f"IN (SELECT value FROM json_each({ids}))" if self.dialect == "sqlite" else f"= ANY({ids})"
            tests.append(f"p.id {found}")
        return tests[0] if len(tests) == 1 else "(" + " OR ".join(tests) + ")" if tests else "FALSE"

    def test(self, condition: Condition) -> str:
        """Return the test of a condition: true or false, never null."""
        if isinstance(condition, AllOf | AnyOf):
            word = " AND " if isinstance(condition, AllOf) else " OR "
            return "(" + word.join(self.test(part) for part in condition.parts) + ")"
        if isinstance(condition, Negation):
            return f"NOT {self.test(condition.part)}"
        if isinstance(condition, TraitTest):
            return self._trait(condition)
        if isinstance(condition, IdentifierTest):
            tests = [self._identifier(condition.kind, comparison) for comparison in condition.comparisons]
            return "(" + " AND ".join(tests) + ")"
        if isinstance(condition, ListTest):
            return self._list(condition.list_id)
        if isinstance(condition, TagTest):
            tag = self.parameters.add(condition.tag, "text")
            return _among(f"SELECT profile_id FROM profile_tags WHERE workspace_id = {self._workspace} AND tag = {tag}")
        if isinstance(condition, SubscriptionTest):
            return self._subscribed(condition.channel)
        if isinstance(condition, EventTest):
            return self._counted(condition)
        raise TypeError(f"segments in a condition must be expanded first: {condition}")

    def _trait(self, test: TraitTest) -> str:
        if test.path in self._indexes:
            indexed, tests = self._indexed(test)
            tests += [] if indexed is None else [_among(indexed)]
            return "(" + " AND ".join(tests) + ")"
        return self._unindexed(test)

    def _unindexed(self, test: TraitTest) -> str:
        self._reads_traits = True
        # A trait is stored with the time at which it was set: [value, time].
        path = (test.path[0], "[0]", *test.path[1:])
        return compare_json(self.parameters, "p.traits", path, test.comparisons, self._now)

    def _indexed(self, test: TraitTest) -> tuple[str | None, list[str]]:
        """Return the query for the people whom the index of a trait finds, if it can, and the tests that remain."""
        index = self.parameters.add(self._indexes[test.path], "bigint")
        query = f"SELECT v.profile_id AS id FROM trait_values v WHERE v.index_id = {index}"
        found: list[str] = []
        tests: list[str] = []
        for comparison in test.comparisons:
            if not answers(comparison):
                tests.append(self._unindexed(TraitTest(test.path, (comparison,))))
            elif not excludes(comparison):
                found.append(compare_indexed(self.parameters, comparison))
            elif comparison.operator == "exists":
                tests.append(f"NOT {_among(query)}")
            else:
                tests.append(f"NOT {_among(f'{query} AND {compare_indexed(self.parameters, comparison)}')}")
        return (f"{query} AND {' AND '.join(found)}" if found else None), tests

    def _list(self, list_id: int) -> str:
        id_ = self.parameters.add(list_id, "bigint")
        return _among(
            "SELECT m.profile_id FROM lists l JOIN list_members m ON m.list_id = l.id "
            f"WHERE l.id = {id_} AND l.workspace_id = {self._workspace} AND l.deleted_at IS NULL "
            "AND m.state = 'subscribed'"
        )

    def _identifier(self, kind: str, comparison: Comparison) -> str:
        operator, operand = comparison.operator, comparison.operand
        given = self.parameters.add(kind, "text")
        found = f"SELECT profile_id FROM identities WHERE workspace_id = {self._workspace} AND kind = {given}"
        if operator == "exists":
            return _among(found) if operand else f"NOT {_among(found)}"
        if operator in ("is", "is_not"):
            among = _among(f"{found} AND value = {self.parameters.add(operand, 'text')}")
            return among if operator == "is" else f"NOT {among}"
        if operator == "in":
            values = ", ".join(self.parameters.add(value, "text") for value in operand)
            return _among(f"{found} AND value IN ({values})")
        folded, part = fold_sql(self.dialect, "value"), self.parameters.add(operand, "text")
        test = has_part(self.dialect, folded, part) if operator == "contains" else begins_with(folded, part)
        return _among(f"{found} AND {test}")

    def _subscribed(self, channel: str) -> str:
        name, kind = self.parameters.add(channel, "text"), self.parameters.add(ADDRESSES[channel], "text")
        return _among(
            "SELECT i.profile_id FROM subscriptions s JOIN identities i "
            f"ON i.workspace_id = s.workspace_id AND i.kind = {kind} AND i.value = s.address "
            f"WHERE s.workspace_id = {self._workspace} AND s.channel = {name} AND s.state = 'subscribed'"
        )

    def _counted(self, test: EventTest) -> str:
        """Return the test on the number of events; events of merged profiles are those of the survivor."""
        most = test.at_most
        having, negated = "", False
        if test.at_least and most is not None:
            limits = self.parameters.add(test.at_least, "bigint"), self.parameters.add(most, "bigint")
            having = f"count(*) BETWEEN {limits[0]} AND {limits[1]}"
        elif test.at_least > 1:
            having = f"count(*) >= {self.parameters.add(test.at_least, 'bigint')}"
        elif most is not None:
            # Most people have not done it: the few who did it too often are the set.
            having, negated = (f"count(*) > {self.parameters.add(most, 'bigint')}" if most else ""), True
        self._merged = True
        query = (
            f"SELECT coalesce(m.merged_into, t.profile_id) FROM ({self._events(test)}) t "
            "LEFT JOIN merged m ON m.id = t.profile_id"
        )
        # A set needs no groups for those who did it at all.
        among = _among(f"{query} GROUP BY 1 HAVING {having}" if having else query)
        return f"NOT {among}" if negated else among

    def _events(self, test: EventTest) -> str:
        """Return the query for the profile of each event of a test."""
        add, now = self.parameters.add, self._now
        tests = [f"t.workspace_id = {self._workspace}", f"t.type = {add(test.type, 'text')}"]
        tests.append(f"t.occurred_at <= {add(now, 'bigint')}")
        if test.within is not None:
            tests.append(f"t.occurred_at > {add(now - test.within, 'bigint')}")
        if test.since is not None:
            tests.append(f"t.occurred_at >= {add(test.since, 'bigint')}")
        if test.until is not None:
            tests.append(f"t.occurred_at < {add(test.until, 'bigint')}")
        data = "t.data" if self.dialect == "postgres" else "e.data"
        where = [compare_json(self.parameters, data, one.path, one.comparisons, now) for one in test.where]
        every = " AND ".join([*tests, *where])
        if self.dialect == "postgres":
            return f"SELECT t.profile_id FROM events t WHERE {every} AND t.profile_id IS NOT NULL"
        # The few events that the late index does not contain yet are scanned.
        late = "SELECT t.profile_id FROM type_times t"
        if where:
            late += " CROSS JOIN events e ON e.id = t.event_id"
        tail = "SELECT t.profile_id FROM events t"
        if where:
            tail += " JOIN events e ON e.id = t.id"
        behind = "t.id > (SELECT upto FROM late_index) AND t.profile_id IS NOT NULL"
        return f"{late} WHERE {every} UNION ALL {tail} WHERE {behind} AND {every}"


def _among(query: str) -> str:
    return f"p.id IN ({query})"


def _factors(condition: Condition) -> Iterator[Condition]:
    """Return conditions that must all hold."""
    if isinstance(condition, AllOf):
        for part in condition.parts:
            yield from _factors(part)
    else:
        yield condition
