"""Options: their effect, their validation, and how layers are merged."""

import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.errors import Invalid
from waypost.sink.behaviour import Behaviour, behave, failing, fails, for_mail, from_json, from_query
from waypost.sink.faulty_response import Ending, Response, build


def body_of(answer: Response) -> bytes:
    return b"".join(answer.pieces()) if answer.pieces else answer.body


def announced(answer: Response) -> int:
    lines = answer.head.decode().split("\r\n")
    return next(int(line.split(": ")[1]) for line in lines if line.startswith("content-length: "))


def test_a_query_sets_what_it_names():
    query = "status=503&delay=0.5&fail_first=2&retry_after=5&header=X-A:1&header=X-B:%20two&hang=1&record=0&seed=7"
    assert behave(from_query(query)) == Behaviour(
        status=503,
        delay=0.5,
        fail_first=2,
        retry_after="5",
        header=("X-A:1", "X-B: two"),
        hang=True,
        record=False,
        seed="7",
    )


def test_json_says_the_same_with_its_own_types():
    assert from_json({"status": 503, "hang": True, "seed": "a"}) == from_query("status=503&hang=1&seed=a")
    assert from_json({"header": {"X-A": "1"}}) == from_json({"header": "X-A:1"}) == from_query("header=X-A:1")
    assert from_json({"body": None}) == {}


@pytest.mark.parametrize(
    "query",
    [
        "statsu=500",
        "status=abc",
        "status=99",
        "status=1000",
        "status",
        "status=500&status=200",
        "delay=-1",
        "delay=nan",
        "delay=inf",
        "fail_rate=1.5",
        "size=-1",
        "size=1.5",
        "hang=maybe",
        "body=a&size=3",
        "size=3&gzip_bomb=3",
        "hang=1&close=1",
        "redirect=http://a/%0d%0aX:1",
        "redirect=http://a/&status=200",
        "redirect=http://a/%0a",
        "header=X:a%0a",
        "header=NoColon",
        "header=Bad%20name:1",
        "header=X:a%0d%0aY:b",
        "retry_after=1%0a",
        "content_type=a%0d",
        "body=%ff",
    ],
)
def test_nonsense_is_refused(query):
    with pytest.raises(Invalid):
        from_query(query)


@pytest.mark.parametrize("value", [[], "status", 5, None, {"nope": 1}, {"status": []}, {"header": [5]}])
def test_nonsense_in_json_is_refused(value):
    with pytest.raises(Invalid):
        from_json(value)


def test_an_unknown_option_is_named_and_so_are_the_known_ones():
    with pytest.raises(Invalid, match=r"'fail_frist'.*fail_first") as caught:
        from_query("fail_frist=2")
    assert caught.value.code == "invalid_option"


def test_later_layers_win_option_by_option():
    told = behave({"status": 500, "delay": 1.0}, from_query("delay=2"), from_json({"body": "x"}))
    assert (told.status, told.delay, told.body) == (500, 2.0, "x")


def test_a_later_choice_drops_an_earlier_alternative():
    assert behave(from_query("hang=1"), from_json({"close": True})) == Behaviour(close=True)
    assert behave(from_query("hang=1"), from_json({"hang": False})) == Behaviour()
    assert behave(from_query("close=1"), from_json({"hang": False})) == Behaviour(close=True)
    assert behave(from_query("gzip_bomb=9"), from_json({"body": ""})) == Behaviour(body="")


def test_a_redirect_is_302_unless_another_is_chosen():
    assert behave(from_query("redirect=/b")).status == 302
    assert behave(from_query("redirect=/b&status=308")).status == 308
    assert behave({"status": 500}, from_query("redirect=/b")).status == 302


def test_the_first_attempts_fail_and_then_no_more():
    told = Behaviour(fail_first=2)
    assert [fails(told, 99, attempt) for attempt in (1, 2, 3)] == [True, True, False]


@given(st.text(max_size=5), st.sampled_from([0.1, 0.5, 0.9]))
def test_the_dice_are_fair_and_fall_the_same_way_again(seed, rate):
    told = Behaviour(fail_rate=rate, seed=seed)
    first = [fails(told, number, 1) for number in range(1, 2001)]
    assert first == [fails(told, number, 1) for number in range(1, 2001)]
    assert abs(sum(first) / 2000 - rate) < 0.06


def test_the_dice_differ_by_seed():
    rolls = [[fails(Behaviour(fail_rate=0.5, seed=seed), n, 1) for n in range(64)] for seed in "ab"]
    assert rolls[0] != rolls[1]


def test_a_failing_request_gets_the_status_and_none_of_the_other_faults():
    told = Behaviour(
        fail_status=429, retry_after="3", hang=True, redirect="/x", status=302, body="secret", record=False
    )
    assert failing(told) == Behaviour(status=429, retry_after="3", record=False)


def test_mail_understands_only_what_mail_can_do():
    assert for_mail({"status": 451}) == {"status": 451}
    for wrong in ({"redirect": "/"}, {"status": 200, "drip": 1.0}, {"status": 999}, {"fail_status": 250}):
        with pytest.raises(Invalid):
            for_mail(wrong)


def test_a_plain_answer_is_sent_in_one_go():
    answer = build(Behaviour())
    assert answer.whole == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 2\r\n\r\nok"
    )


def test_a_status_that_nobody_knows_has_a_line_too():
    assert build(Behaviour(status=799)).head.startswith(b"HTTP/1.1 799 ")


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status):
    answer = build(Behaviour(status=status, body="not sent"))
    assert answer.body == b""
    assert b"content-length" not in answer.head


def test_given_headers_stand_beside_ours_and_may_lie_about_the_length():
    answer = build(Behaviour(header=("Content-Length:7", "Set-Cookie:a=1", "Set-Cookie:b=2")))
    assert answer.head.count(b"ength") == 1
    assert answer.head.count(b"Set-Cookie: ") == 2


def test_a_truncated_answer_promises_more_than_it_sends():
    answer = build(Behaviour(body="half", truncate=True))
    assert announced(answer) > len(answer.body)
    assert answer.ending is Ending.CLOSE


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 1_000_000])
def test_a_body_has_the_size_that_was_asked_for(size):
    answer = build(Behaviour(size=size))
    assert announced(answer) == len(body_of(answer)) == size


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_a_bomb_expands_to_what_was_asked_for(size):
    answer = build(Behaviour(gzip_bomb=size))
    packed = body_of(answer)
    assert gzip.decompress(packed) == bytes(size)
    assert announced(answer) == len(packed)


def test_a_huge_body_is_not_made_before_it_is_sent():
    answer = build(Behaviour(size=1 << 40))
    assert answer.pieces is not None
    assert sum(map(len, itertools.islice(answer.pieces(), 3))) == 3 * 65536
