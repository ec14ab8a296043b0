"""Requests are stored within limits, counted beyond them, and paged in order."""

from hypothesis import given
from hypothesis import strategies as st

from waypost.sink.request_log import PAGE_BYTES, RequestLog, show


def put(received: RequestLog, name: str, webhook_id: bytes = b"", body: bytes = b"") -> int:
    inbox = received.inbox(name)
    attempt = inbox.count(webhook_id)
    received.keep(inbox, "POST", b"/hook/" + name.encode(), b"", body, webhook_id)
    return attempt


def bodies(received: RequestLog, name: str | None) -> list[bytes]:
    return [record.body for record in received.page(name, 1000, 0)[0]]


def test_attempts_are_counted_by_webhook_id_and_together_without_one():
    received = RequestLog()
    assert [put(received, "a", key) for key in (b"1", b"2", b"1", b"", b"")] == [1, 1, 2, 1, 2]
    assert (received.count("a"), received.distinct("a")) == (5, 2)
    assert received.count("a", b"1") == 2


def test_distinct_ids_of_all_names_are_counted_once():
    received = RequestLog()
    for name, key in (("a", b"1"), ("b", b"1"), ("b", b"2"), ("c", b"")):
        put(received, name, key)
    assert (received.count(None), received.distinct(None)) == (4, 2)
    assert (received.count("none"), received.distinct("none")) == (0, 0)


def test_the_oldest_go_when_there_are_too_many_and_counts_stay():
    received = RequestLog(keep=3)
    for number in range(5):
        put(received, "ab"[number % 2], body=b"%d" % number)
    assert bodies(received, None) == [b"2", b"3", b"4"]
    assert bodies(received, "a") == [b"2", b"4"]
    assert (received.count("a"), received.count("b")) == (3, 2)
    assert [record.number for record in received.page("a", 10, 0)[0]] == [2, 3]


def test_the_oldest_go_when_their_bodies_are_too_large():
    received = RequestLog(keep_bytes=1000)
    for letter in (b"a", b"b", b"c"):
        put(received, "n", body=letter * 400)
    assert [body[:1] for body in bodies(received, "n")] == [b"b", b"c"]
    put(received, "n", body=b"x" * 2000)
    assert bodies(received, "n") == []
    put(received, "n", body=b"after")
    assert bodies(received, "n") == [b"after"]
    assert received.count("n") == 5


def test_forgetting_a_name_leaves_the_others_and_makes_room():
    received = RequestLog(keep=4, keep_bytes=1000)
    for name in "aabb":
        put(received, name, b"id", b"x" * 200)
    received.forget("a")
    received.forget("never came")
    assert (received.count("a"), received.count("b"), received.distinct(None)) == (0, 2, 1)
    put(received, "a", body=b"x" * 500)
    assert [record.name for record in received.page(None, 10, 0)[0]] == ["b", "b", "a"]
    received.forget(None)
    assert received.page(None, 10, 0) == ([], None)
    put(received, "a", body=b"x" * 900)
    assert len(bodies(received, "a")) == 1


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 7), st.sampled_from(["a", "b", None]))
def test_pages_give_everything_once_in_order(names, limit, wanted):
    received = RequestLog()
    for number, name in enumerate(names):
        put(received, name, body=b"%d" % number)
    found: list[bytes] = []
    after: int | None = 0
    while after is not None:
        page, after = received.page(wanted, limit, after)
        assert len(page) <= limit
        found += [record.body for record in page]
    assert found == [b"%d" % number for number, name in enumerate(names) if wanted in (None, name)]


def test_a_page_of_huge_bodies_ends_early_but_is_never_empty():
    received = RequestLog()
    for _ in range(3):
        put(received, "n", body=bytes(PAGE_BYTES))
    page, after = received.page("n", 100, 0)
    assert len(page) == 1
    assert after == page[0].serial


def test_what_is_not_text_is_shown_as_base64():
    received = RequestLog()
    put(received, "n", body=b"\xff\x00")
    shown = show(received.page("n", 1, 0)[0][0])
    assert shown["body_base64"] == "/wA="
    assert "body" not in shown
