"""Identity resolution: laws of merging, and that the order of events matters only where it must."""

import copy
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.audience.profiles import (
    RENEWAL,
    IdentityClaim,
    IdentityKey,
    Profile,
    Resolver,
    Traits,
    current,
    fold,
    merge,
    profiles_to_load,
)
from waypost.domain.events.segment import Entry, read_entry, read_message
from waypost.errors import Conflict

WORKSPACE = 7
START = 1_790_000_000_000_000
LATER = START + 10**12  # The time at which all events are received.
STEP = 2 * RENEWAL  # Far enough apart for every use to count.

Partition = frozenset[frozenset[tuple[str, str]]]


def entry(kind: str, at: int, *, received_at: int = LATER, **fields: Any) -> Entry:
    """Return the client's time `at` steps after the start."""
    names = {"user": "userId", "anonymous": "anonymousId", "previous": "previousId"}
    said = {names.get(name, name): value for name, value in fields.items()}
    if kind == "track":
        said["event"] = "Looked"
        if "traits" in said:
            said["context"] = {"traits": said.pop("traits")}
    message = read_message(msgspec.json.encode({**said, "timestamp": (START + at * STEP) / 1_000_000}))
    return read_entry(message, kind, WORKSPACE, received_at, f"m{at}")


class Store:
    """The tables that a batch is resolved against, updated as the recorder does."""

    def __init__(self) -> None:
        self.identities: dict[IdentityKey, tuple[int, int]] = {}
        self.profiles: dict[int, tuple[Traits, int, int | None]] = {}
        self.events: list[int] = []
        self.ids = itertools.count(100)

    def record(self, *entries: Entry) -> list[int]:
        """Resolve one batch, and store the result."""
        wanted = [(e.workspace_id, kind, value) for e in entries for kind, value in e.identifiers]
        claims = {key: IdentityClaim(*self.identities[key]) for key in wanted if key in self.identities}
        loaded = {id_: self.load(id_) for id_ in profiles_to_load(entries, claims)}
        resolver = Resolver(claims, loaded, lambda: next(self.ids))
        found = [resolver.resolve(e) for e in entries]
        for profile in [*resolver.created, *resolver.changed_profiles()]:
            kept: Traits = msgspec.json.decode(msgspec.json.encode(profile.traits), type=Traits)
            self.profiles[profile.id] = (kept, profile.created_at, profile.merged_into)
        for key, claim in resolver.claims.items():
            if claim.changed:
                self.identities[key] = (claim.profile_id, claim.claimed_at)
        gone = {loser for loser, _ in resolver.merged}
        for id_, (traits, created_at, merged_into) in self.profiles.items():
            if merged_into in gone:
                self.profiles[id_] = (traits, created_at, self.profiles[merged_into][2])
        for key, (owner, claimed_at) in self.identities.items():
            if owner in gone:
                merged_into = self.profiles[owner][2]
                assert merged_into is not None
                self.identities[key] = (merged_into, claimed_at)
        self.events += found
        return found

    def load(self, id_: int) -> Profile:
        traits, created_at, merged_into = self.profiles[id_]
        return Profile(
            id=id_,
            workspace_id=WORKSPACE,
            traits=dict(traits),
            created_at=created_at,
            known=any(owner == id_ and key[1] == "user_id" for key, (owner, _) in self.identities.items()),
            merged_into=merged_into,
        )

    def survivor(self, id_: int) -> int:
        """Return the profile that has the history of another now: at most one step away."""
        merged_into = self.profiles[id_][2]
        assert merged_into is None or self.profiles[merged_into][2] is None
        return id_ if merged_into is None else merged_into

    def who(self, kind: str, value: str) -> int:
        """Return the profile of an identifier, which is never a merged one."""
        owner = self.identities[(WORKSPACE, kind, value)][0]
        assert self.survivor(owner) == owner
        return owner

    def people(self) -> dict[int, frozenset[tuple[str, str]]]:
        """Return the identifiers of each person."""
        found: dict[int, set[tuple[str, str]]] = {}
        for _, kind, value in self.identities:
            found.setdefault(self.who(kind, value), set()).add((kind, value))
        return {id_: frozenset(names) for id_, names in found.items()}

    def partition(self) -> Partition:
        return frozenset(self.people().values())

    def traits(self) -> dict[frozenset[tuple[str, str]], dict[str, Any]]:
        return {names: current(self.profiles[id_][0]) for id_, names in self.people().items()}


def after(*batches: Sequence[Entry]) -> Store:
    store = Store()
    for batch in batches:
        store.record(*batch)
    return store


def in_every_order(entries: Sequence[Entry]) -> list[Store]:
    """Return the store after each order of events, in one batch and in batches of one."""
    stores = []
    for order in itertools.permutations(entries):
        stores.append(after(order))
        stores.append(after(*([one] for one in order)))
    return stores


def person(*names: str) -> frozenset[tuple[str, str]]:
    kinds = {"u": "user_id", "a": "anonymous_id", "e": "email"}
    return frozenset((kinds[name[0]], name[2:] if name[1] == ":" else name) for name in names)


# Traits.

traits = st.dictionaries(
    st.sampled_from(["name", "plan", "age"]),
    st.tuples(
        st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.0, 0.0, -0.0, "1", [1], {"a": 1, "b": 2}]),
        st.integers(0, 3),
    ),
)
statements = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abc"), st.none() | st.booleans() | st.integers(0, 3)), st.integers(0, 3))
)


@st.composite
def profiles(draw: st.DrawFn, count: int) -> list[Profile]:
    ids = draw(st.lists(st.integers(1, 99), min_size=count, max_size=count, unique=True))
    return [
        Profile(
            id=id_,
            workspace_id=WORKSPACE,
            traits=draw(traits),
            created_at=draw(st.integers(0, 9)),
            known=draw(st.booleans()),
        )
        for id_ in ids
    ]


def merged(one: Profile, other: Profile) -> Profile:
    return merge(copy.deepcopy(one), copy.deepcopy(other))


def exactly(profile: Profile) -> bytes:
    """Return a profile for comparison: True, 1 and 1.0 are equal in Python and different in JSON."""
    return msgspec.json.encode(profile, order="sorted")


@given(profiles(2))
def test_merging_is_commutative_and_the_older_survives(pair):
    one, other = pair
    assert exactly(merged(one, other)) == exactly(merged(other, one))
    assert merged(one, other).id == min(one.id, other.id)


@given(profiles(3))
def test_merging_is_associative(three):
    first, second, third = three
    assert exactly(merged(merged(first, second), third)) == exactly(merged(first, merged(second, third)))


def test_both_halves_of_a_merge_are_to_be_written():
    old, new = (Profile(id=id_, workspace_id=WORKSPACE, traits={}, created_at=id_) for id_ in (1, 2))
    new.known = True
    assert merge(new, old) is old
    assert (old.known, old.created_at, old.merged_into, old.changed) == (True, 1, None, True)
    assert (new.merged_into, new.changed) == (1, True)


@given(statements, st.randoms(use_true_random=False))
def test_folding_does_not_hang_on_the_order(said, random):
    results = []
    for _ in range(3):
        known: Traits = {}
        for news, at in said:
            before = copy.deepcopy(known)
            changed = fold(known, news, at)
            assert changed == (msgspec.json.encode(known) != msgspec.json.encode(before))
        results.append(msgspec.json.encode(known, order="sorted"))
        random.shuffle(said)
    assert len(set(results)) == 1


@given(statements)
def test_saying_it_again_changes_nothing(said):
    known: Traits = {}
    for news, at in said:
        fold(known, news, at)
        assert not fold(known, news, at)


def test_what_was_taken_back_is_not_shown_and_does_not_come_back():
    known: Traits = {}
    fold(known, {"plan": "pro", "name": "Ann"}, 1)
    fold(known, {"plan": None}, 3)
    fold(known, {"plan": "free"}, 2)
    assert current(known) == {"name": "Ann"}


# Identity.


def test_what_somebody_did_before_they_said_who_they_are_is_theirs_in_any_order():
    said = [
        entry("track", 1, anonymous="a1"),
        entry("identify", 2, user="u1", anonymous="a1", traits={"plan": "pro"}),
        entry("track", 3, anonymous="a1"),
        entry("track", 4, user="u1"),
    ]
    for store in in_every_order(said):
        assert store.partition() == {person("u1", "a1")}
        assert {store.survivor(id_) for id_ in store.events} == {store.who("user_id", "u1")}
        assert list(store.traits().values()) == [{"plan": "pro"}]


def test_an_alias_takes_in_what_was_done_without_a_name_before_and_after():
    said = [
        entry("track", 1, anonymous="a1"),
        entry("alias", 2, user="u1", previous="a1"),
        entry("track", 3, anonymous="a1"),
    ]
    for store in in_every_order(said):
        assert store.partition() == {person("u1", "u:a1", "a1")}
        assert len({store.survivor(id_) for id_ in store.events}) == 1


def test_a_chain_of_aliases_makes_one_person_in_any_order():
    said = [
        entry("identify", 1, user="u1", traits={"plan": "free"}),
        entry("identify", 2, user="u2", traits={"plan": "pro"}),
        entry("alias", 3, user="u2", previous="u1"),
        entry("alias", 4, user="u3", previous="u2"),
        entry("identify", 5, user="u3", traits={"name": "Ann"}),
    ]
    for store in in_every_order(said):
        assert store.who("user_id", "u1") == store.who("user_id", "u2") == store.who("user_id", "u3")
        assert list(store.traits().values()) == [{"plan": "pro", "name": "Ann"}]


def test_a_shared_device_belongs_to_whoever_used_it_last():
    said = [
        entry("identify", 1, user="u1", anonymous="a1"),
        entry("identify", 2, user="u2", anonymous="a1"),
        entry("track", 3, user="u1", anonymous="a1"),
        entry("track", 4, anonymous="a1"),
    ]
    for store in in_every_order(said):
        assert store.partition() == {person("u1", "a1"), person("u2")}


@pytest.mark.parametrize(("kind", "value"), [("email", "e@example.com"), ("phone", "+16502530000")])
def test_a_shared_address_merges_nobody_and_belongs_to_whoever_used_it_last(kind, value):
    said = [
        entry("identify", 1, user="u1", traits={kind: value}),
        entry("identify", 3, user="u2", traits={kind: value}),
        entry("identify", 2, user="u1", traits={kind: value, "plan": "pro"}),
    ]
    for store in in_every_order(said):
        assert store.who("user_id", "u1") != store.who("user_id", "u2")
        assert store.who(kind, value) == store.who("user_id", "u2")


def test_an_alias_merges_nobody_by_the_device_or_address_it_was_sent_with():
    store = after(
        [entry("identify", 1, user="u2", anonymous="a1", traits={"email": "e@example.com"})],
        [
            entry(
                "alias",
                2,
                user="u1",
                previous="u0",
                anonymous="a1",
                context={"traits": {"email": "e@example.com"}},
            )
        ],
    )
    assert store.partition() == {person("u2"), person("u1", "u:u0", "a:u0", "a1", "e:e@example.com")}


def test_an_alias_of_a_device_that_somebody_else_used_takes_the_device_alone():
    said = [
        entry("identify", 1, user="u2", anonymous="a1"),
        entry("alias", 2, user="u1", previous="a1"),
    ]
    for store in in_every_order(said):
        assert store.partition() == {person("u2"), person("u1", "u:a1", "a1")}


def test_an_address_leads_from_device_to_device_until_a_person_is_known():
    store = after(
        [entry("identify", 1, anonymous="a1", traits={"email": "e@example.com"})],
        [entry("identify", 2, anonymous="a2", traits={"email": "e@example.com"})],
        [entry("track", 3, user="u1", anonymous="a2")],
    )
    assert store.partition() == {person("u1", "a1", "a2", "e:e@example.com")}


def test_of_two_known_people_the_stronger_identifier_decides_and_takes_the_weaker():
    store = after(
        [entry("identify", 1, user="u1", anonymous="a1")],
        [entry("identify", 2, user="u2", traits={"email": "e@example.com"})],
        [entry("identify", 3, anonymous="a1", traits={"email": "e@example.com", "plan": "pro"})],
    )
    assert store.partition() == {person("u1", "a1", "e:e@example.com"), person("u2")}
    assert store.traits()[person("u2")] == {"email": "e@example.com"}
    # A person who used it earlier does not get it back.
    store.record(entry("identify", 2, user="u2", traits={"email": "e@example.com"}))
    assert store.who("email", "e@example.com") == store.who("user_id", "u1")


def test_a_device_alone_renews_nothing():
    store = after(
        [entry("identify", 1, user="u1", anonymous="a1")],
        [entry("identify", 3, anonymous="a1", traits={"plan": "pro"})],
        [entry("identify", 2, user="u2", anonymous="a1")],
    )
    assert store.partition() == {person("u1"), person("u2", "a1")}


def test_a_claim_is_renewed_now_and_then():
    claims = {
        (WORKSPACE, "user_id", "u1"): IdentityClaim(1, START),
        (WORKSPACE, "anonymous_id", "a1"): IdentityClaim(1, START),
    }
    resolver = Resolver(claims, {}, lambda: 2)
    said = entry("track", 0, user="u1", anonymous="a1")
    for at, renewed in [(START - RENEWAL, False), (START + RENEWAL, False), (START + RENEWAL + 1, True)]:
        said.occurred_at = at
        assert resolver.resolve(said) == 1
        assert claims[(WORKSPACE, "anonymous_id", "a1")].changed is renewed
    assert claims[(WORKSPACE, "anonymous_id", "a1")].claimed_at == START + RENEWAL + 1
    # A userId is never shared, so the time of its use is not updated.
    assert not claims[(WORKSPACE, "user_id", "u1")].changed


def test_a_clock_that_runs_ahead_decides_only_until_now():
    wrong = entry("identify", 10_000, user="u1", anonymous="a1", traits={"plan": "old"}, received_at=START + STEP)
    right = entry("identify", 2, user="u2", anonymous="a1")
    news = entry("identify", 3, user="u1", traits={"plan": "new"})
    assert wrong.occurred_at > right.occurred_at > wrong.received_at
    store = after([wrong], [right], [news])
    assert store.partition() == {person("u1"), person("u2", "a1")}
    assert store.traits()[person("u1")] == {"plan": "new"}


def test_workspaces_do_not_share_people():
    mine, theirs = entry("track", 1, user="u1"), entry("track", 1, user="u1")
    theirs.workspace_id = WORKSPACE + 1
    resolver = Resolver({}, {}, iter([1, 2]).__next__)
    assert [resolver.resolve(mine), resolver.resolve(theirs), resolver.resolve(mine)] == [1, 2, 1]
    assert [profile.workspace_id for profile in resolver.created] == [WORKSPACE, WORKSPACE + 1]


def test_profiles_are_loaded_only_where_they_may_change():
    claims = {
        (WORKSPACE, "user_id", "u1"): IdentityClaim(1, START),
        (WORKSPACE, "anonymous_id", "a1"): IdentityClaim(1, START),
        (WORKSPACE, "anonymous_id", "a2"): IdentityClaim(2, START),
    }

    def wanted(**fields: Any) -> set[int]:
        return profiles_to_load([entry("track", 1, **fields)], claims)

    assert wanted(user="u1") == set()
    assert wanted(user="u1", anonymous="a1") == set()
    assert wanted(user="u9", anonymous="a9") == set()
    assert wanted(user="u1", anonymous="a2") == {1, 2}
    assert wanted(user="u1", anonymous="a9") == {1}
    assert wanted(user="u1", traits={"plan": "pro"}) == {1}


def test_only_what_was_changed_and_is_not_new_has_to_be_updated():
    store = after([entry("identify", 1, user="u1"), entry("identify", 1, user="u2")])
    claims = {key: IdentityClaim(*value) for key, value in store.identities.items()}
    resolver = Resolver(claims, {id_: store.load(id_) for id_ in store.profiles}, lambda: next(store.ids))
    resolver.resolve(entry("identify", 2, user="u1"))
    assert list(resolver.changed_profiles()) == []
    resolver.resolve(entry("identify", 2, user="u1", traits={"plan": "pro"}))
    resolver.resolve(entry("identify", 3, user="u3"))
    assert [profile.id for profile in resolver.changed_profiles()] == [store.who("user_id", "u1")]


def test_a_profile_that_another_process_merged_away_is_a_conflict():
    claims = {
        (WORKSPACE, "user_id", "u1"): IdentityClaim(2, START),
        (WORKSPACE, "anonymous_id", "a1"): IdentityClaim(3, START),
    }
    gone = Profile(id=2, workspace_id=WORKSPACE, traits={}, created_at=START, merged_into=1)
    resolver = Resolver(claims, {2: gone}, lambda: 9)
    with pytest.raises(Conflict):
        resolver.resolve(entry("track", 1, user="u1", anonymous="a1"))


# Laws: what the docstring of the module promises.

users = st.sampled_from(["u1", "u2", "u3", "u4"])
devices = st.sampled_from(["a1", "a2", "a3"])
said_traits = st.none() | st.dictionaries(st.sampled_from(["plan", "name"]), st.integers(0, 3) | st.none(), min_size=1)
plain = st.one_of(
    st.tuples(st.just("track"), users, st.none(), said_traits),
    st.tuples(st.sampled_from(["track", "identify"]), st.none(), devices, said_traits),
    st.tuples(st.sampled_from(["track", "identify"]), users, devices, said_traits),
)
aliases = st.tuples(st.just("alias"), users, users | devices, st.none())


def entries_of(said: Iterable[tuple[str, str | None, str | None, dict[str, Any] | None]]) -> list[Entry]:
    """Return the entries of generated messages, each with its own time."""
    made = []
    for at, (kind, user, other, traits) in enumerate(said):
        fields: dict[str, Any] = {"user": user, "previous" if kind == "alias" else "anonymous": other}
        if traits is not None:
            fields["traits"] = traits
        made.append(entry(kind, at, **{name: value for name, value in fields.items() if value is not None}))
    return made


@st.composite
def reordered(draw: st.DrawFn, entries: list[Entry]) -> list[list[Entry]]:
    """Return the same entries in any order, divided into any batches."""
    order = draw(st.permutations(entries))
    cuts = sorted(draw(st.sets(st.integers(1, max(len(order) - 1, 1)))))
    return [list(order[start:end]) for start, end in itertools.pairwise([0, *cuts, len(order)])]


def expected(entries: list[Entry]) -> Partition:
    """Return the expected identities from all entries at once: userIds by aliases, devices by their last use."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(name: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for e in sorted(entries, key=lambda e: e.occurred_at):
        names = [name for name in e.identifiers if name[0] == "user_id"]
        for name in names[1:]:
            parent[root(name)] = root(names[0])
        for name in e.identifiers[len(names) :]:
            parent.setdefault(name, name)
            if names:
                parent[name] = names[0]
    groups: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for name in {name for e in entries for name in e.identifiers}:
        groups.setdefault(root(name), set()).add(name)
    return frozenset(frozenset(group) for group in groups.values())


@given(st.lists(plain | aliases, max_size=8), st.data())
def test_who_is_who_does_not_hang_on_order_or_batches(said, data):
    entries = entries_of(said)
    store = after(*data.draw(reordered(entries)))
    assert store.partition() == expected(entries)


@given(st.lists(plain | aliases, max_size=8), st.data())
def test_what_is_known_of_people_who_share_no_device_does_not_hang_on_order_or_batches(said, data):
    entries = entries_of(said)
    one = {name: group for group in expected([e for e in entries if e.kind == "alias"]) for name in group}
    owner: dict[tuple[str, str], object] = {}
    kept = []
    for e in entries:
        user = next((name for name in e.identifiers if name[0] == "user_id"), None)
        shared = [name for name in e.identifiers if name[0] != "user_id"] if user else []
        whose = one.get(user, user) if user else None
        if all(owner.setdefault(name, whose) == whose for name in shared):
            kept.append(e)
    known: dict[frozenset[tuple[str, str]], Traits] = {group: {} for group in expected(kept)}
    for e in kept:
        group = next(group for group in known if e.identifiers[0] in group)
        fold(known[group], e.traits or {}, e.occurred_at)
    store = after(*data.draw(reordered(kept)))
    assert store.traits() == {group: current(found) for group, found in known.items()}
    # And all their events are in one history.
    assert {store.survivor(id_) for id_ in store.events} <= store.people().keys()


emails = st.sampled_from(["e1@example.com", "e2@example.com"])
anything = st.one_of(
    st.fixed_dictionaries({"kind": st.just("alias"), "user": users, "previous": users | devices}),
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["track", "identify"])},
        optional={
            "user": users,
            "anonymous": devices,
            "traits": st.fixed_dictionaries({}, optional={"email": emails, "plan": st.integers(0, 2)}),
        },
    ).filter(lambda said: "user" in said or "anonymous" in said),
)


@given(st.lists(anything, max_size=10), st.data())
def test_whatever_comes_only_aliases_merge_people_and_batches_change_nothing(said, data):
    entries = [entry(at=at, **fields) for at, fields in enumerate(said)]
    cuts = data.draw(reordered(entries))
    order = [e for batch in cuts for e in batch]
    store, alone = after(*cuts), after(*([e] for e in order))
    assert store.partition() == alone.partition()
    assert store.traits() == alone.traits()
    together = {name: group for group in expected([e for e in entries if e.kind == "alias"]) for name in group}
    for names in store.partition():
        ids = [name for name in names if name[0] == "user_id"]
        assert all(name in together.get(ids[0], {ids[0]}) for name in ids)
    assert {name for names in store.partition() for name in names} == {n for e in entries for n in e.identifiers}
