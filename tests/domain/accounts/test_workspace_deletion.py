"""The deletion of a workspace: who may do it, and what follows what."""

import pytest

from waypost.domain.accounts.workspace_deletion import GRACE, DeletionStep, check_deletion, next_step
from waypost.errors import Conflict, Invalid


@pytest.mark.parametrize(
    ("typed", "workspaces", "error", "code"),
    [
        ("shop", 2, Invalid, "name_mismatch"),
        ("Shop ", 2, Invalid, "name_mismatch"),
        ("", 1, Invalid, "name_mismatch"),
        ("Shop", 1, Conflict, "last_workspace"),
    ],
)
def test_a_deletion_is_refused(typed: str, workspaces: int, error: type[Exception], code: str):
    with pytest.raises(error) as caught:
        check_deletion("Shop", typed, workspaces)
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_who_types_the_name_may_delete_one_of_several():
    check_deletion("Shop", "Shop", 2)


def test_what_is_not_sent_ends_twice_before_rows_are_deleted():
    step, again, steps = DeletionStep.MESSAGES, False, []
    while step is not DeletionStep.DONE:
        step, again, due_at = next_step(step, 1_000, again=again)
        steps.append((step.value, again, due_at))
    assert steps == [
        ("deliveries", False, 0),
        ("messages", True, 1_000 + GRACE),
        ("deliveries", True, 0),
        ("rows", True, 0),
        ("searches", True, 0),
        ("done", True, 0),
    ]
