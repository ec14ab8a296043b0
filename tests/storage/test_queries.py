"""The named queries: each can be prepared, is used and is described, and hot ones find their rows by an index."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import waypost
from tests.storage.conftest import Store
from waypost.errors import Unavailable
from waypost.storage import postgres as postgres_store
from waypost.storage import sqlite as sqlite_store
from waypost.storage.database import Database, Row, Tx, load_queries, number_parameters

SOURCE = Path(waypost.__file__).parent
DIALECTS = ["sqlite", "postgres"]
CALLS = {"row", "rows", "records", "run", "insert"}
BIG_TABLES = {
    "deliveries",
    "events",
    "attempts",
    "identities",
    "profiles",
    "metric_counts",
    "metric_events",
    "type_events",
    "messages",
    "quarantine",
    "imports",
}
HOT = [
    "deliveries.claim",
    "deliveries.delete",
    "deliveries.held",
    "deliveries.list",
    "deliveries.list_dead",
    "deliveries.list_pending",
    "deliveries.release",
    "deliveries.requeue",
    "deliveries.settle",
    "deliveries.settle_delivered",
    "deliveries.states",
    "attempts.list",
    "attempts.of_delivery",
    "endpoints.due",
    "events.by_ids",
    "events.known",
    "events.list",
    "events.of_profile",
    "events.of_type",
    "events.oldest_of_workspace",
    "identities.find",
    "metric_counts.oldest",
    "metric_counts.oldest_of_workspace",
    "metric_counts.timeline",
    "metric_counts.totals",
    "metric_events.delete",
    "metric_events.list",
    "metric_events.older",
    "metric_events.older_of_workspace",
    "messages.aged_of_workspace",
    "quarantine.older_of_workspace",
    "imports.oldest_of_workspace",
    "metrics.find",
    "identities.move",
    "identities.of_many",
    "profiles.follow",
    "profiles.load",
    "configurations.versions",
]


def texts_in(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def sources() -> Iterator[ast.Module]:
    return (ast.parse(path.read_text("utf-8"), str(path)) for path in sorted(SOURCE.rglob("*.py")))


def test_both_dialects_know_the_same_queries_with_the_same_parameters():
    of_sqlite, of_postgres = load_queries("sqlite"), load_queries("postgres")
    # Decision 10: only SQLite has late indexes.
    own = {name for name in of_sqlite if name.startswith("late.")}
    assert set(of_sqlite) - own == set(of_postgres)
    for name, text in of_sqlite.items():
        if name in own:
            continue
        assert sorted(number_parameters(text)[1]) == sorted(number_parameters(of_postgres[name])[1]), name


def test_every_query_that_is_called_is_defined():
    defined = set(load_queries("sqlite"))
    for tree in sources():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in CALLS:
                owner, first = call.func.value, call.args[:1]
                if isinstance(owner, ast.Name) and owner.id == "tx" and first and isinstance(first[0], ast.Constant):
                    assert first[0].value in defined


def test_every_query_that_is_defined_is_used():
    used = {text for tree in sources() for text in texts_in(tree)}
    assert sorted(set(load_queries("sqlite")) - used) == []


async def test_every_query_can_be_prepared(database: Database):
    await database.check()


async def test_a_query_that_cannot_be_prepared_is_named(store: Store, monkeypatch: pytest.MonkeyPatch):
    broken = {"first.bad": "SELECT wrong FROM workspaces WHERE id = :id", "second.bad": "SELEKT 1"}
    for module in (sqlite_store, postgres_store):
        monkeypatch.setattr(module, "load_queries", lambda dialect: load_queries(dialect) | broken)
    database = store.open()
    with pytest.raises(Unavailable) as caught:
        await database.check()
    assert caught.value.code == "broken_queries"
    assert "first.bad" in caught.value.detail
    assert "second.bad" in caught.value.detail
    assert "workspaces.add" not in caught.value.detail


async def test_answers_have_types_that_both_stores_know(postgres_url: str):
    # PostgreSQL sums integers as `numeric`, which arrives as a Decimal; SQLite returns an int.
    database = postgres_store.Postgres(postgres_url)

    async def types(tx: Tx) -> dict[str, set[str]]:
        connection = tx._connection  # type: ignore[attr-defined]
        found = {}
        for name, text in load_queries("postgres").items():
            if ":rows" not in text or "VALUES" not in text:
                statement = await connection.prepare(number_parameters(text)[0])
                found[name] = {attribute.type.name for attribute in statement.get_attributes()}
        return found

    answers = await database.read(types)
    await database.close()
    for name, found in answers.items():
        assert found <= {"int8", "int4", "text", "bool", "float8", "bytea"}, name


@pytest.mark.parametrize(
    ("text", "expected", "names"),
    [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ["a", "b"]),
        ("SELECT :a::bigint[], x::text", "SELECT $1::bigint[], x::text", ["a"]),
        ("SELECT ':a', \"b:c\", 'it''s :b', :b", "SELECT ':a', \"b:c\", 'it''s :b', $1", ["b"]),
        ("SELECT a ->> 0, :n", "SELECT a ->> 0, $1", ["n"]),
    ],
)
def test_parameters_are_numbered_and_nothing_else_is_touched(text: str, expected: str, names: list[str]):
    assert number_parameters(text) == (expected, names)


async def fill(tx: Tx) -> None:
    """Insert enough rows for the planner to prefer an index, most deliveries settled as in an old database."""
    await tx.insert("events.insert", [(n, 1, n, f"m{n}", "event.x", n % 50, n, "{}") for n in range(1, 5001)])
    await tx.insert("profiles.insert", [(n, 1, None, "{}", 0, 0) for n in range(1, 5001)])
    await tx.insert("identities.insert", [(1, "user_id", f"u{n}", n, 0) for n in range(1, 5001)])
    rows: list[Row] = [(n % 3, n, "delivered", 1, 1, None, None, None, 5) for n in range(1, 4001)]
    rows += [(n % 3, n, "pending", 0, 0, n, None, None, None) for n in range(4001, 5001)]
    await tx.insert("deliveries.insert", rows)
    days = [(1, n * minutes, minutes, n % 9, "", 0, 0, 1) for n in range(2500) for minutes in (15, 1440)]
    await tx.insert("metric_counts.add", days)
    await tx.insert("metric_statuses.insert", [(n, "SENT") for n in range(9)])
    await tx.insert("metric_events.insert", [(n % 9, "SENT", n) for n in range(5000)])


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
async def test_hot_queries_use_indexes(database: Database, filled: bool):
    plans = sqlite_plans if database.dialect == "sqlite" else postgres_plans
    if filled:
        await database.transact(fill)
    for name, reads in (await database.transact(plans, filled)).items():
        assert reads, name
        for table, how in reads:
            assert how == "search" or table not in BIG_TABLES, f"{name} reads all of {table}"


@pytest.mark.parametrize("name", ["deliveries.release_all", "deliveries.release_others"])
async def test_a_start_finds_what_was_held_in_an_index_alone(database: Database, name: str):
    if database.dialect == "sqlite":
        assert ("deliveries", "covering") in await database.transact(covering, name)


async def covering(tx: Tx, name: str) -> list[tuple[str, str]]:
    """Return the tables for which SQLite reads only an index in a query."""
    text = load_queries("sqlite")[name]
    connection = tx._connection  # type: ignore[attr-defined]
    steps = connection.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(number_parameters(text)[1]))
    found = [re.match(r"SCAN (\w+) USING COVERING INDEX deliveries_pending", step) for *_, step in steps]
    return [(one[1], "covering") for one in found if one]


async def sqlite_plans(tx: Tx, filled: bool) -> dict[str, list[tuple[str, str]]]:
    """Return how each hot query reads each table, as SQLite plans it."""
    connection = tx._connection  # type: ignore[attr-defined]
    if filled:
        connection.execute("ANALYZE")
    plans: dict[str, list[tuple[str, str]]] = {}
    for name in HOT:
        text = load_queries("sqlite")[name]
        steps = connection.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(number_parameters(text)[1]))
        aliases = {alias: table for table, alias in re.findall(r"\b(?:FROM|JOIN|UPDATE) (\w+) (\w)\b", text)}
        plans[name] = []
        for *_, step in steps:
            found = re.match(r"(SCAN|SEARCH) (\w+)", step)
            if found:
                plans[name].append((str(aliases.get(found[2], found[2])), str(found[1]).lower()))
    return plans


async def postgres_plans(tx: Tx, filled: bool) -> dict[str, list[tuple[str, str]]]:
    """Return the same for PostgreSQL, with generic plans, as for prepared statements."""
    connection = tx._connection  # type: ignore[attr-defined]
    if filled:
        await connection.execute("ANALYZE")
    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    plans: dict[str, list[tuple[str, str]]] = {}
    for name in HOT:
        text, names = number_parameters(load_queries("postgres")[name])
        await connection.execute(f"PREPARE hot AS {text}")
        nothing = f"({', '.join(['NULL'] * len(names))})" if names else ""
        plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT json) EXECUTE hot{nothing}"))
        await connection.execute("DEALLOCATE hot")
        plans[name] = list(reads_of(plan[0]["Plan"]))
    return plans


def reads_of(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "Relation Name" in node and node["Node Type"] != "ModifyTable":
        direct = "Index Cond" in node or "TID Cond" in node or "Recheck Cond" in node
        yield node["Relation Name"], "search" if direct else "scan"
    for inner in node.get("Plans", []):
        yield from reads_of(inner)


@pytest.mark.parametrize(
    "name",
    [
        "events.list",
        "events.oldest_of_workspace",
        "messages.aged_of_workspace",
        "messages.owners",
        "messages.stretch",
        "messages.stretch_end",
        "profiles.list",
        "profiles.stretch",
        "profiles.stretch_end",
        "quarantine.older_of_workspace",
        "imports.oldest_of_workspace",
    ],
)
async def test_the_rows_of_a_workspace_are_found_by_its_own_index(database: Database, name: str):
    """In the order of ids, the rows of all other workspaces would be searched for those of one."""

    async def plan(tx: Tx) -> str:
        connection = tx._connection  # type: ignore[attr-defined]
        text, names = number_parameters(load_queries(database.dialect)[name])
        if database.dialect == "sqlite":
            source = load_queries("sqlite")[name]
            return str(connection.execute(f"EXPLAIN QUERY PLAN {source}", dict.fromkeys(names)).fetchall())
        events = [(n, n % 3, n, f"m{n}", "event.x", 1, n, "{}") for n in range(1, 5001)]
        await tx.insert("events.insert", events)
        await tx.insert("profiles.insert", [(n, n % 3, None, "{}", n, n) for n in range(1, 5001)])
        await connection.execute("ANALYZE")
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE asked AS {text}")
        found = await connection.fetch(f"EXPLAIN EXECUTE asked({', '.join(['NULL'] * len(names))})")
        await connection.execute("DEALLOCATE asked")
        return str([row[0] for row in found])

    assert f"{name.partition('.')[0]}_by_workspace" in await database.transact(plan)


def test_every_query_has_a_sentence():
    folder = SOURCE / "storage" / "sql"
    silent = []
    for file in sorted(folder.rglob("*.sql")):
        if file.parent.name != "migrations":
            parts = re.split(r"^-- name: (.*)$", file.read_text("utf-8"), flags=re.MULTILINE)
            silent += [
                name for name, body in zip(parts[1::2], parts[2::2], strict=True) if not body[1:].startswith("-- ")
            ]
    assert silent == []
