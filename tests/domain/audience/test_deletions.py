"""What is searched for a deleted person, in which order, and when that is over."""

import pytest

from waypost.domain.audience.deletions import DeletionStage, next_stage

EVENTS, MESSAGES, LINKS, DONE = DeletionStage


@pytest.mark.parametrize(
    ("stage", "passes", "messages", "unfinished", "following"),
    [
        (EVENTS, 0, False, False, MESSAGES),
        (EVENTS, 1, True, True, MESSAGES),
        (MESSAGES, 0, True, False, LINKS),
        (MESSAGES, 0, False, False, EVENTS),
        (MESSAGES, 1, False, False, DONE),
        (MESSAGES, 1, False, True, EVENTS),
        (MESSAGES, 5, True, True, LINKS),
        (LINKS, 0, False, False, EVENTS),
        (LINKS, 1, False, False, DONE),
        (LINKS, 7, False, True, EVENTS),
    ],
)
def test_stages(stage: DeletionStage, passes: int, messages: bool, unfinished: bool, following: DeletionStage) -> None:
    assert next_stage(stage, passes, messages=messages, unfinished=unfinished) is following
