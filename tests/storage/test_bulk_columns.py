"""The rows and states of messages have the columns of their statements, in the same order, on both databases."""

import re

import pytest

from waypost.domain.messaging.status import MessageState
from waypost.engine.messaging.recording import INSERTED_NEW, INSERTED_STATE
from waypost.engine.messaging.transitions import WRITTEN
from waypost.storage.database import load_queries

DIALECTS = ["sqlite", "postgres"]


def listed_columns(query: str) -> list[str]:
    """Return the columns of a bulk statement: its first list in parentheses."""
    return query[query.index("(") + 1 : query.index(")")].replace("\n", " ").replace(" ", "").split(",")


def numbered_columns(query: str) -> list[str]:
    """Return the columns of an UPDATE that reads its values from a JSON array, in the order of their numbers."""
    found = re.findall(r"(\w+) = (?:m\.\1 \|\| )?\(?r ->> (\d+)\b", query)
    by_number = {int(number): name for name, number in found}
    assert sorted(by_number) == list(range(len(by_number)))
    return [by_number[number] for number in range(len(by_number))]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_new_messages_have_the_columns_of_their_statement(dialect: str):
    columns = listed_columns(load_queries(dialect)["messages.insert"])
    assert columns == [*INSERTED_STATE, *INSERTED_NEW, "history", "updated_at"]


@pytest.mark.parametrize(("dialect", "columns"), [("sqlite", listed_columns), ("postgres", numbered_columns)])
def test_changed_messages_have_the_columns_of_their_statement(dialect, columns):
    assert columns(load_queries(dialect)["messages.write"]) == [*WRITTEN, "history", "updated_at"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_loaded_messages_have_the_columns_of_their_query(dialect: str):
    query = load_queries(dialect)["messages.load"]
    columns = re.findall(r"[(, ]m\.(\w+)(?=[,)])", query[: query.index("FROM")])
    assert columns == [name.replace("history_length", "history") for name in MessageState.__struct_fields__]
