"""Fixtures for the tests of simulated providers: a sink per module, and a receiver for its callbacks."""

from collections.abc import Iterator

import pytest

from tests.sink.hearing import Ear, listening
from waypost.sink.thread_runner import Running, running


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """A sink that all tests of a module share."""
    with running() as sink:
        yield sink


@pytest.fixture
def ear() -> Iterator[Ear]:
    """A receiver for the callbacks of one test."""
    with listening() as receiver:
        yield receiver
