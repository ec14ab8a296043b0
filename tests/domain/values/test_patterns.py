"""User-supplied patterns take linear time, and unsupported constructs are named."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.values.patterns import LONGEST_PATTERN, BadPattern, compile_glob, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("[A-Z]{2}[0-9]+", "AC12", True),
        ("[A-Z]{2}[0-9]+", "AC12\n", False),
        ("a|ab", "ab", True),
        ("(?i)abc", "ABC", True),
        (".*", "é€😀", True),
        ("...", "é€😀", True),
        (".*", "a\nb", False),
        ("(?s).*", "a\nb", True),
        ("a.*", "\ud800", False),
        ("(a+)+b", "a" * 500 + "b", True),
        ("^x$", "x", True),
    ],
)
def test_a_pattern_matches_the_whole_text(pattern, text, matches):
    assert compile_pattern(pattern)(text) is matches


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("(?=a)a", "look-ahead"),
        ("(?!a)b", "negative look-ahead"),
        ("(?<=a)b", "look-behind"),
        ("(?<!a)b", "negative look-behind"),
        ("(?>a)b", "atomic group"),
        (r"(a)\1", r"back-reference \1"),
        ("(?P<n>a)(?P=n)", "back-reference (?P=…)"),
        ("(a)?(?(1)b|c)", "conditional group"),
        ("(?x)(a+) +b", "(?x"),
        ("a(?#why)", "comment"),
        ("a++", "++"),
        (r"a\Z", r"\z"),
        (r"\u0041", r"\x{…}"),
        ("(a{100}){100}", "repeats too often"),
        (r"\pL{1000}", "memory"),
        ("(", "missing )"),
        ("x" * (LONGEST_PATTERN + 1), "characters"),
    ],
)
def test_what_re2_cannot_run_is_refused_and_named(pattern, named):
    with pytest.raises(BadPattern) as caught:
        compile_pattern(pattern)
    assert named in str(caught.value)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|aa)+b", "(a*)*b", ".*.*.*.*.*.*b", "(.*a){20}b"])
def test_no_pattern_takes_long(pattern):
    started = time.perf_counter()
    assert not compile_pattern(pattern)("a" * 20_000)
    assert time.perf_counter() - started < 2


@given(st.text("ab*", max_size=10), st.text("ab", max_size=10))
def test_globs_mean_what_they_mean_in_a_shell(glob, text):
    expected = re.fullmatch(".*".join(map(re.escape, glob.split("*"))), text) is not None
    assert compile_glob(glob)(text) is expected
    assert compile_glob(glob.upper(), ignore_case=True)(text) is expected


@pytest.mark.timeout(5)
def test_no_glob_takes_long():
    assert not compile_glob("*" + "a*" * 500 + "b*c")("a" * 100_000 + "c")
