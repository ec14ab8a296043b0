"""Which payloads pass a filter, and how an invalid filter is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.webhooks.filter import (
    DEEPEST,
    JOINERS,
    LONGEST_PATH,
    LONGEST_STRING,
    MOST_NODES,
    OPERATORS,
    Filter,
    compile_filter,
)
from waypost.errors import Invalid

BODY = {
    "type": "event.order_shipped",
    "timestamp": "2026-09-21T13:33:20.000000Z",
    "data": {
        "metric": "Order Shipped",
        "type": "inner",
        "properties": {
            "total": 120,
            "rate": 0.5,
            "big": 10**30,
            "paid": True,
            "one": 1,
            "gone": None,
            "empty": "",
            "note": "fragile, please",
            "a.b": "dotted",
            "a\\b": "slashed",
            "$value": 7,
            "0": "zero",
            "tags": ["new", "vip", 3, None, [1], {"k": 1}],
            "items": [{"sku": "A-1", "n": 2}, {"sku": "B-2", "n": 0}],
            "shape": {"w": 1, "h": [1, True]},
        },
    },
}


def passes(spec: object) -> bool:
    return compile_filter(spec)(BODY)


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        # Paths.
        ({}, True),
        ({"type": "event.order_shipped"}, True),
        ({"type": "inner"}, False),
        ({"data.type": "inner"}, True),
        ({"metric": "Order Shipped"}, True),
        ({"data.metric": "Order Shipped"}, True),
        ({"properties.total": 120}, True),
        ({"data.properties.total": 120}, True),
        ({"timestamp": {"$gte": "2026-09-21"}}, True),
        ({"properties.a\\.b": "dotted"}, True),
        ({"properties.a.b": "dotted"}, False),
        ({"properties.a\\\\b": "slashed"}, True),
        ({"properties.$value": 7}, True),
        ({"properties.items.0.sku": "A-1"}, True),
        ({"properties.items.1.sku": "A-1"}, False),
        ({"properties.items.2.sku": {"$exists": False}}, True),
        ({"properties.items.-1.sku": {"$exists": False}}, True),
        ({"properties.items.sku": {"$exists": False}}, True),
        ({"properties.items.0.sku.0": {"$exists": False}}, True),
        ({"properties.items.9999999999": {"$exists": False}}, True),
        ({"properties.0": "zero"}, True),
        ({"properties.note.0": {"$exists": False}}, True),
        ({"properties.total.x": {"$exists": False}}, True),
        ({"properties.gone.x": {"$exists": False}}, True),
        # Equality.
        ({"properties.total": 120.0}, True),
        ({"properties.total": 121}, False),
        ({"properties.total": "120"}, False),
        ({"properties.one": True}, False),
        ({"properties.paid": True}, True),
        ({"properties.paid": False}, False),
        ({"properties.paid": 1}, False),
        ({"properties.gone": None}, True),
        ({"properties.absent": None}, False),
        ({"properties.empty": None}, False),
        ({"properties.empty": ""}, True),
        ({"properties.absent": ""}, False),
        ({"properties.note": {"$eq": "fragile, please"}}, True),
        ({"properties.tags": ["new", "vip", 3, None, [1], {"k": 1}]}, True),
        ({"properties.tags": ["new", "vip", 3, None, [True], {"k": 1}]}, False),
        ({"properties.tags": ["new", "vip", 3, None, [1], {"k": True}]}, False),
        ({"properties.tags": ["new"]}, False),
        ({"properties.tags": []}, False),
        ({"properties.shape": {"$eq": {"h": [1, True], "w": 1.0}}}, True),
        ({"properties.shape": {"$eq": {"h": [1, 1], "w": 1}}}, False),
        ({"properties.shape": {"$eq": {"w": 1}}}, False),
        ({"properties.shape": {"$eq": [1]}}, False),
        ({"properties.tags": {"$eq": {}}}, False),
        ({"properties.total": {"$ne": 120}}, False),
        ({"properties.total": {"$ne": "120"}}, True),
        ({"properties.absent": {"$ne": 1}}, True),
        ({"properties.absent": {"$ne": None}}, True),
        ({"properties.gone": {"$ne": None}}, False),
        # Order.
        ({"properties.total": {"$gt": 119.5}}, True),
        ({"properties.total": {"$gt": 120}}, False),
        ({"properties.total": {"$gte": 120}}, True),
        ({"properties.total": {"$lt": 120}}, False),
        ({"properties.total": {"$lte": 120}}, True),
        ({"properties.total": {"$gte": 100, "$lt": 200}}, True),
        ({"properties.total": {"$gte": 100, "$lt": 110}}, False),
        ({"properties.total": {"$gt": "1"}}, False),
        ({"properties.note": {"$gt": 1}}, False),
        ({"properties.note": {"$lt": "g"}}, True),
        ({"properties.big": {"$gt": 1.5e29}}, True),
        ({"properties.paid": {"$gt": 0}}, False),
        ({"properties.gone": {"$lte": 0}}, False),
        ({"properties.tags": {"$gt": 0}}, False),
        ({"properties.absent": {"$lt": 1}}, False),
        ({"properties.absent": {"$lt": "a"}}, False),
        # Membership.
        ({"properties.note": {"$in": ["fragile, please", "x"]}}, True),
        ({"properties.note": {"$in": ["x"]}}, False),
        ({"properties.note": {"$in": []}}, False),
        ({"properties.total": {"$in": ["120", 120]}}, True),
        ({"properties.total": {"$in": ["120"]}}, False),
        ({"properties.tags": {"$in": ["new"]}}, False),
        ({"properties.paid": {"$in": [1, None]}}, False),
        ({"properties.gone": {"$in": [1, None]}}, True),
        ({"properties.absent": {"$in": [1, None]}}, False),
        ({"properties.note": {"$nin": ["x"]}}, True),
        ({"properties.note": {"$nin": ["fragile, please"]}}, False),
        ({"properties.absent": {"$nin": ["x"]}}, True),
        ({"properties.absent": {"$nin": []}}, True),
        # Presence.
        ({"properties.gone": {"$exists": True}}, True),
        ({"properties.gone": {"$exists": False}}, False),
        ({"properties.absent": {"$exists": True}}, False),
        ({"properties.absent": {"$exists": False}}, True),
        # Parts of texts and lists.
        ({"properties.note": {"$startsWith": "frag"}}, True),
        ({"properties.note": {"$startsWith": "please"}}, False),
        ({"properties.note": {"$endsWith": "please"}}, True),
        ({"properties.total": {"$startsWith": "1"}}, False),
        ({"properties.absent": {"$endsWith": ""}}, False),
        ({"properties.note": {"$contains": "gile"}}, True),
        ({"properties.note": {"$contains": "Gile"}}, False),
        ({"properties.note": {"$contains": 1}}, False),
        ({"properties.total": {"$contains": "1"}}, False),
        ({"properties.absent": {"$contains": ""}}, False),
        ({"properties.tags": {"$contains": "vip"}}, True),
        ({"properties.tags": {"$contains": "vi"}}, False),
        ({"properties.tags": {"$contains": 3}}, True),
        ({"properties.tags": {"$contains": None}}, True),
        ({"properties.tags": {"$contains": True}}, False),
        ({"properties.tags": {"$contains": [1]}}, True),
        ({"properties.tags": {"$contains": {"k": 1}}}, True),
        ({"properties.shape": {"$contains": "w"}}, False),
        # Combinations.
        ({"metric": "Order Shipped", "properties.total": 120}, True),
        ({"metric": "Order Shipped", "properties.total": 1}, False),
        ({"$and": [{"properties.paid": True}]}, True),
        ({"$and": [{"properties.paid": True}, {"properties.total": 1}]}, False),
        ({"$or": [{"properties.total": 1}]}, False),
        ({"$or": [{"properties.total": 1}, {"properties.paid": True}]}, True),
        ({"$or": [{"properties.total": 1}, {"properties.total": 2}]}, False),
        ({"$not": {"properties.total": 1}}, True),
        ({"$not": {"properties.paid": True, "properties.total": 1}}, True),
        ({"$not": {}}, False),
        ({"$not": {"properties.absent": 1}}, True),
        ({"$not": {"properties.absent": {"$exists": True}}}, True),
        ({"$or": [{"properties.total": 1}, {"$not": {"$and": [{"properties.one": 2}, {}]}}], "metric": "x"}, False),
    ],
)
def test_a_filter_passes_what_it_says(spec, passed):
    assert passes(spec) is passed


@pytest.mark.parametrize(
    ("spec", "pointer", "says"),
    [
        (None, "", "a filter is an object"),
        ([], "", "a filter is an object"),
        ("metric", "", "a filter is an object"),
        ({"$nor": []}, "/$nor", "a path or one of $and, $or, $not may stand here"),
        ({"$eq": 1}, "/$eq", "unknown operator"),
        ({"$and": {}}, "/$and", "list of at least one"),
        ({"$or": []}, "/$or", "list of at least one"),
        ({"$and": [{}, 5]}, "/$and/1", "a filter is an object"),
        ({"$not": []}, "/$not", "a filter is an object"),
        ({"$or": [{"metric": {"$gt": True}}]}, "/$or/0/metric/$gt", "$gt needs a number or a text"),
        ({"metric": {}}, "/metric", "holds operators: $eq, $ne"),
        ({"metric": {"$regex": "x"}}, "/metric/$regex", "allowed are $eq, $ne, $gt"),
        ({"metric": {"$not": {"$eq": 1}}}, "/metric/$not", "allowed are"),
        ({"properties": {"total": 1}}, "/properties/total", "write a dotted path"),
        ({"a/b~c": {"$x": 1}}, "/a~1b~0c/$x", "unknown operator"),
        ({"metric": {"$lt": None}}, "/metric/$lt", "needs a number or a text"),
        ({"metric": {"$gte": [1]}}, "/metric/$gte", "needs a number or a text"),
        ({"metric": {"$in": "x"}}, "/metric/$in", "$in needs a list"),
        ({"metric": {"$nin": {"a": 1}}}, "/metric/$nin", "$nin needs a list"),
        ({"metric": {"$exists": 1}}, "/metric/$exists", "true or false"),
        ({"metric": {"$exists": None}}, "/metric/$exists", "true or false"),
        ({"metric": {"$startsWith": 1}}, "/metric/$startsWith", "needs a text"),
        ({"metric": {"$endsWith": ["x"]}}, "/metric/$endsWith", "needs a text"),
        ({"metric": {"$eq": {"a": [float("nan")]}}}, "/metric/$eq/a/0", "a value is null"),
        ({"metric": float("inf")}, "/metric", "a value is null"),
        ({"metric": (1, 2)}, "/metric", "a value is null"),
        ({"metric": b"x"}, "/metric", "a value is null"),
        ({"": 1}, "/", "single dots"),
        ({".a": 1}, "/.a", "single dots"),
        ({"a.": 1}, "/a.", "single dots"),
        ({"a..b": 1}, "/a..b", "single dots"),
        ({"a\\b": 1}, "/a\\b", "a backslash in a path"),
        ({"a\\": 1}, "/a\\", "a backslash in a path"),
        ({"\ud800\\": 1}, "/?\\", "a backslash in a path"),
    ],
)
def test_a_wrong_filter_is_refused_at_its_place(spec, pointer, says):
    with pytest.raises(Invalid) as refused:
        compile_filter(spec)
    assert refused.value.code == "invalid_filter"
    assert refused.value.extra == {"pointer": pointer}
    assert says in refused.value.detail
    assert pointer in refused.value.detail


def nested(levels: int) -> dict[str, object]:
    """Return a filter of this many nested objects and lists."""
    literal: object = 1
    for _ in range(levels - 2):
        literal = [literal]
    return {"metric": {"$eq": literal}}


def nested_objects(levels: int) -> dict[str, object]:
    literal: object = 1
    for _ in range(levels - 2):
        literal = {"k": literal}
    return {"metric": {"$eq": literal}}


def joined(levels: int) -> dict[str, object]:
    spec: dict[str, object] = {"metric": 1}
    for _ in range(levels - 1):
        spec = {"$not": spec}
    return spec


@pytest.mark.parametrize("make", [nested, nested_objects, joined])
def test_a_filter_may_be_so_deep_and_no_deeper(make):
    compile_filter(make(DEEPEST))
    for levels in (DEEPEST + 1, 200):
        with pytest.raises(Invalid, match="levels of nesting"):
            compile_filter(make(levels))


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda count: {f"p{number}": number for number in range(count)}, MOST_NODES - 1),
        (lambda count: {"metric": {"$in": list(range(count))}}, MOST_NODES - 3),
        (lambda count: {"$or": [{} for _ in range(count)]}, MOST_NODES - 1),
        (lambda count: {"metric": {"$eq": {str(number): {} for number in range(count)}}}, MOST_NODES - 3),
    ],
)
def test_a_filter_may_be_so_large_and_no_larger(make, most):
    compile_filter(make(most))
    with pytest.raises(Invalid, match="more than 100"):
        compile_filter(make(most + 1))


def test_texts_may_be_so_long_and_no_longer():
    compile_filter({"metric": "x" * LONGEST_STRING, "p" * LONGEST_PATH: 1})
    with pytest.raises(Invalid, match="longer than 1024"):
        compile_filter({"metric": {"$in": ["x" * (LONGEST_STRING + 1)]}})
    with pytest.raises(Invalid, match="longer than 256") as refused:
        compile_filter({"p" * (LONGEST_PATH + 1): 1})
    assert len(refused.value.detail) < 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
# Few keys and values, so that filters and payloads often match.
keys = st.sampled_from(["a", "b", "0", "a.b", "a.0", "data.a", "type", "timestamp", "a\\.b"])
scalars = st.sampled_from([None, True, False, 0, 1, 1.0, 2.5, "", "a", "ab", "1"])
literals = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from("ab"), scalars, max_size=2)
conditions = st.one_of(
    st.tuples(keys, scalars | st.lists(scalars, max_size=2)),
    st.tuples(keys, st.tuples(st.sampled_from(["$eq", "$ne", "$contains"]), literals).map(lambda pair: dict([pair]))),
    st.tuples(
        keys,
        st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.sampled_from([0, 1, 1.5, "", "a", "b"])).map(
            lambda pair: dict([pair])
        ),
    ),
    st.tuples(keys, st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(literals, max_size=3), min_size=1)),
    st.tuples(keys, st.dictionaries(st.just("$exists"), st.booleans(), min_size=1)),
    st.tuples(
        keys, st.dictionaries(st.sampled_from(["$startsWith", "$endsWith"]), st.text("ab", max_size=2), min_size=1)
    ),
).map(lambda pair: dict([pair]))


def join(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    lists = st.lists(parts, min_size=1, max_size=3)
    turned: st.SearchStrategy[dict[str, Any]] = parts.map(lambda spec: {"$not": spec})
    return turned | st.tuples(st.sampled_from(["$and", "$or"]), lists).map(lambda pair: dict([pair]))


filters = conditions | join(conditions | join(conditions))
small = st.dictionaries(st.sampled_from(["a", "b", "0", "a.b"]), scalars, max_size=2)
payload_values = scalars | st.lists(scalars | small, max_size=2) | small
payloads = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["", "a", "ab"]),
        "timestamp": st.sampled_from(["", "a", "b"]),
        "data": st.dictionaries(st.sampled_from(["a", "b", "0", "a.b"]), payload_values),
    }
)


@given(one=filters, other=filters, body=payloads)
def test_de_morgan(one, other, body):
    both = compile_filter({"$not": {"$and": [one, other]}})
    either = compile_filter({"$or": [{"$not": one}, {"$not": other}]})
    assert both(body) is either(body)
    neither = compile_filter({"$not": {"$or": [one, other]}})
    none = compile_filter({"$and": [{"$not": one}, {"$not": other}]})
    assert neither(body) is none(body)


@given(spec=filters, body=payloads)
def test_a_filter_or_its_opposite_passes(spec, body):
    once = compile_filter(spec)(body)
    assert once is not compile_filter({"$not": spec})(body)
    assert once is compile_filter({"$not": {"$not": spec}})(body)


@given(key=keys, value=literals, choices=st.lists(literals, max_size=3), body=payloads)
def test_membership_is_equality_with_one_of_the_choices(key, value, choices, body):
    among = compile_filter({key: {"$in": choices}})(body)
    assert among is any(compile_filter({key: {"$eq": choice}})(body) for choice in choices)
    assert among is not compile_filter({key: {"$nin": choices}})(body)
    assert compile_filter({key: {"$eq": value}})(body) is not compile_filter({key: {"$ne": value}})(body)


@given(value=payload_values, other=payload_values)
def test_equality_is_equality_of_the_json_text(value, other):
    # 1 and 1.0 are one number in two spellings, which a comparison of the texts would distinguish.
    def text(found: object) -> str:
        return json.dumps(found, sort_keys=True).replace("1.0", "1")

    passed = compile_filter({"a": {"$eq": value}})({"type": "t", "timestamp": "", "data": {"a": other}})
    assert passed is (text(value) == text(other))


operations = st.dictionaries(st.sampled_from(OPERATORS), json_values, max_size=2)
specs = json_values | st.dictionaries(
    st.sampled_from(JOINERS) | keys | st.text(max_size=3),
    json_values | operations | st.lists(st.dictionaries(keys, operations, max_size=2), max_size=2),
    max_size=2,
)


def compile_or_refuse(spec: object) -> Filter | Invalid:
    try:
        return compile_filter(spec)
    except Invalid as refused:
        return refused


@given(spec=specs, body=payloads | st.dictionaries(st.sampled_from(["data", "type"]), json_values))
def test_any_json_is_a_filter_or_invalid_and_never_fails_on_a_payload(spec, body):
    outcome = compile_or_refuse(spec)
    if isinstance(outcome, Invalid):
        assert outcome.code == "invalid_filter"
        assert outcome.detail.encode()
    else:
        assert outcome(body) in (True, False)
