"""Random conditions, and random people with histories, for the tests that compare ways to evaluate conditions."""

import itertools
import json
import unicodedata
from typing import Any

import msgspec
from hypothesis import strategies as st

from waypost.clock import DAY, HOUR
from waypost.domain.audience.comparisons import instant
from waypost.domain.values.ids import public
from waypost.storage.database import Select, Tx

NOW = 1_790_000_000 * 1_000_000
LISTS, TAGS, METRICS = (901, 902), ("vip", "Été"), ("Order Shipped", "email.opened")
TYPES = {"Order Shipped": "event.order_shipped", "email.opened": "email.opened"}
NAMES = ("plan", "straße", "a b", "age")

_letters = st.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters='"\\')
WORDS = (
    *("", "pro", "PRO", "Straße", "STRASSE", "e\u0301té", "ÉTÉ", "Σας", "ΣΑΣ", "\u0130", "\u0131", "Ǆ", "ﬁ", "\0"),
    *("a\0b", "%", "_", "'", "42", "42.0", "-0.5", "1e3", " 42", "0x10", "42\n", "\u0664\u0662", "true", "null"),
    *("1" * 16, "2026-09-01", "2026-09-21T14:13:20Z", "2026-09-21T16:13:20.000001+02:00", "2026-02-30", "0000-01-01"),
    *("2024-02-29", "2023-02-29", "2026-09-21 14:13", "2026-09-21T24:00", "2026-09-21T14:13:60Z", "2026-9-1"),
    *("9999-12-31", "0001-01-01T00:00+14:00", "2026-13-01", "2026-00-10", "1969-12-31T23:59:59.5", "\\u0000", "\0\0é"),
)
NUMBERS = (42, 42.0, 0.1, 0.30000000000000004, -0.5, -0.0, 1e300, 1e-300, 5e-324, 2**53 + 1, 2**63 - 1, 2**64 - 1)
DATES = (
    "2026-09-01",
    "2026-09-21T14:13:20Z",
    "30d",
    "30d ago",
    "2h ahead",
    "1s",
    "0001-01-01",
    "2024-02-29T23:59-14:00",
)
_words = st.sampled_from(WORDS)
texts = st.one_of(_words, st.text(_letters, max_size=4))
numbers = st.one_of(
    st.integers(-3, 50),
    st.sampled_from(NUMBERS),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(texts, numbers, st.booleans())
values = st.one_of(
    scalars,
    st.none(),
    st.lists(st.one_of(scalars, st.none()), max_size=3),
    st.dictionaries(st.sampled_from(NAMES), scalars, max_size=2),
)
dates = st.sampled_from(DATES)


def comparisons(*, relative: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """Return one or two operators with operands."""
    times = dates if relative else dates.filter(lambda one: instant(one) is not None)
    one = st.one_of(
        st.fixed_dictionaries({}, optional={"is": scalars, "is_not": scalars}),
        st.builds(lambda value: {"contains": value}, scalars),
        st.builds(lambda value: {"starts_with": value}, texts),
        st.builds(lambda value: {"exists": value}, st.booleans()),
        st.builds(lambda value: {"in": value}, st.lists(scalars, min_size=1, max_size=3)),
        st.builds(lambda name, value: {name: value}, st.sampled_from(["gt", "gte", "lt", "lte"]), numbers),
        st.builds(lambda name, value: {name: value}, st.sampled_from(["before", "after"]), times),
    )
    return one.filter(bool)


def _event(name: str, bounds: dict[str, Any], more: dict[str, Any], where: dict[str, Any]) -> dict[str, Any]:
    return {"event": name, **bounds, **more, **({"where": where} if where else {})}


_paths = st.sampled_from([*NAMES, "plan.age"])
leaves = st.one_of(
    st.builds(lambda name, tests: {"trait": name, **tests}, _paths, comparisons()),
    st.builds(
        lambda name, tests: {"trait": name, **tests},
        st.sampled_from(["email", "user_id"]),
        st.sampled_from(
            (
                *({"is": "Ada@Example.com"}, {"is_not": "ada@example.com"}, {"contains": "EXAMPLE"}, {"is": "u1"}),
                *({"starts_with": "ADA"}, {"exists": True}, {"exists": False}, {"in": ["u1", "ada@example.com"]}),
            )
        ),
    ),
    st.builds(lambda id_: {"list": public("lst", id_)}, st.sampled_from(LISTS)),
    st.builds(lambda tag: {"tag": tag}, st.sampled_from(TAGS)),
    st.builds(lambda channel: {"subscribed": channel}, st.sampled_from(["sms", "email"])),
    st.builds(
        _event,
        st.sampled_from(METRICS),
        st.sampled_from([{}, {"at_least": 2}, {"at_most": 0}, {"at_most": 1}, {"at_least": 1, "at_most": 2}]),
        st.sampled_from(
            [{}, {"within": "2h"}, {"within": "30d"}, {"since": "2026-09-20"}, {"until": "2026-09-21T10:00"}]
        ),
        st.dictionaries(
            st.one_of(_paths, st.just("machine")), st.one_of(scalars, comparisons(relative=False)), max_size=1
        ),
    ),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=6,
)
histories = st.lists(
    st.tuples(
        st.sampled_from(METRICS),
        st.sampled_from([-40 * DAY, -30 * DAY, -3 * HOUR, -2 * HOUR, -2 * HOUR + 1, -1, 0, 1, 5 * HOUR]),
        st.builds(
            lambda properties, machine: {**properties, **machine},
            st.dictionaries(st.sampled_from(NAMES), values, max_size=2),
            st.one_of(
                st.just({}), st.builds(lambda one: {"machine": one}, st.booleans()), st.just({"machine": "true"})
            ),
        ),
    ),
    max_size=4,
)
people = st.fixed_dictionaries(
    {
        "traits": st.dictionaries(st.sampled_from(NAMES), values, max_size=3),
        "email": st.sampled_from([None, "ada@example.com", "bob@example.org"]),
        "user": st.booleans(),
        "lists": st.dictionaries(st.sampled_from(LISTS), st.sampled_from(["subscribed", "pending", "unsubscribed"])),
        "tags": st.sets(st.sampled_from(TAGS)),
        "subscribed": st.sampled_from([None, "subscribed", "unsubscribed"]),
        "events": histories,
        "merged": st.sampled_from([None, None, 0]),
    }
)


def assigned(value: Any) -> bool:
    """Return whether a value has only characters that every version of Unicode knows."""
    return all(unicodedata.category(letter) != "Cn" for letter in json.dumps(value, ensure_ascii=False))


_ids = itertools.count(1_000)
_encode = msgspec.json.Encoder().encode


def next_id() -> int:
    """Return an id that no row of the tests has yet."""
    return next(_ids)


async def add_lists(tx: Tx, workspace_id: int) -> dict[int, int]:
    """Create the lists of a workspace; return their ids by those of the conditions."""
    found = {}
    for list_id in LISTS:
        found[list_id] = next_id()
        await statement(
            tx,
            "INSERT INTO lists (id, workspace_id, name, double_opt_in, created_at, updated_at) "
            "VALUES (:a, :b, 'x', 0, 0, 0)",
            a=found[list_id],
            b=workspace_id,
        )
    return found


async def add_person(tx: Tx, workspace_id: int, person: dict[str, Any], lists: dict[int, int], into: int | None) -> int:
    """Create a person with a history; return the id."""
    id_ = next_id()
    merged_into = into if person["merged"] is not None else None
    traits = _encode({name: (value, 1) for name, value in person["traits"].items()}).decode()
    await tx.insert("profiles.insert", [(id_, workspace_id, merged_into, traits, 0, 0)])
    owner = merged_into or id_
    address = f"{id_}.{person['email']}" if person["email"] == "bob@example.org" else person["email"]
    rows = [(workspace_id, "user_id", f"u{id_ % 3}", owner, 1)] if person["user"] and into is None else []
    if address and not (await tx.row("profiles.find", workspace_id=workspace_id, kind="email", value=address)):
        rows.append((workspace_id, "email", address, owner, 1))
        if person["subscribed"]:
            subscription = (workspace_id, "email", address, person["subscribed"], "api", 1, "{}")
            await tx.insert("subscriptions.insert", [subscription])
    await tx.insert("identities.insert", rows)
    for list_id, state in person["lists"].items():
        await statement(
            tx,
            "INSERT INTO list_members (list_id, profile_id, state, source, changed_at) VALUES (:a, :b, :c, 'api', 0)",
            a=lists[list_id],
            b=id_,
            c=state,
        )
    for tag in sorted(person["tags"]):
        await statement(
            tx,
            "INSERT INTO profile_tags (workspace_id, tag, profile_id, created_at) VALUES (:a, :b, :c, 0)",
            a=workspace_id,
            b=tag,
            c=id_,
        )
    events = []
    for metric, at, properties in person["events"]:
        data = {"properties": properties} if metric == "Order Shipped" else properties
        number = next_id()
        events.append((number, workspace_id, None, f"m{number}", TYPES[metric], id_, NOW + at, _encode(data).decode()))
    await tx.insert("events.insert", events)
    return id_


async def statement(tx: Tx, text: str, **values: Any) -> None:
    """Run a statement that no query of Waypost has."""
    await tx.select(Select(text, values))


def with_lists(tree: Any, lists: dict[int, int]) -> Any:
    """Return a tree with the ids of the lists of a workspace."""
    text = json.dumps(tree)
    for old, new in lists.items():
        text = text.replace(public("lst", old), public("lst", new))
    return json.loads(text)
