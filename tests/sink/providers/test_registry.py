"""What applies to every simulated provider, and that the manual describes all of it."""

import re
from pathlib import Path
from typing import Any

import pytest

from waypost.sink import mail
from waypost.sink.providers import gateway, klaviyo, klaviyo_flow, sendgrid, twilio, wunderkind
from waypost.sink.providers.registry import PROVIDERS
from waypost.sink.scenarios import SCENARIOS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "sink-providers.md").read_text("utf-8")
MODULES = {
    "sendgrid": sendgrid,
    "twilio": twilio,
    "wunderkind": wunderkind,
    "klaviyo": klaviyo,
    "klaviyo-flow": klaviyo_flow,
    "gateway": gateway,
}
each_module = pytest.mark.parametrize("name", MODULES)


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the table with this heading, cell by cell."""
    table = PAGE.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def told(heading: str) -> list[str]:
    return [name for row in rows(heading) for name in named(row[0])]


@each_module
def test_a_provider_is_played_under_its_own_name_only(name):
    assert PROVIDERS[name][1] is MODULES[name].ROUTES
    assert all(path.startswith(f"/{name}/") for _, path in MODULES[name].ROUTES)


def test_every_route_is_told():
    routes = {key for module in MODULES.values() for key in module.ROUTES}
    assert {tuple(name.split()) for name in told("route")} == routes


@each_module
def test_every_setting_is_told(name):
    settings: Any = next(kind for word, kind in vars(MODULES[name]).items() if word.endswith("Settings"))
    assert told(f"setting of {name}") == list(settings.__struct_fields__)


@pytest.mark.parametrize("module", [sendgrid, mail])
def test_every_mailbox_is_told(module):
    name = "smtp" if module is mail else "sendgrid"
    assert set(told(f"mailbox of {name}")) == module.MAILBOXES.keys()
    assert set(module.MAILBOXES.values()) - {"full"} <= SCENARIOS.keys()


@pytest.mark.parametrize("module", [twilio, gateway])
def test_every_fate_with_words_of_its_own_is_told(module):
    said = {name: row[1] for row in rows(f"fate at {module.NAME}") for name in named(row[0])}
    for step, (status, code) in module.STATUSES.items():
        if step not in ("queued", "sent", "delivered"):
            text = said["opted_out_later" if step == "opted_out" else step]
            assert f"`{status}`" in text
            assert code is None or str(code) in text
    for reply, (status, code, *_) in module.REFUSALS.items():
        word = {"invalid": "malformed", "unknown": "unknown_failure"}.get(reply.value, reply.value)
        assert said[word].startswith(f"{status}, ")
        assert str(code) in said[word]
    assert said.keys() <= SCENARIOS.keys()


def test_every_status_of_wunderkind_is_told():
    said = {name: named(row[1]) for row in rows("fate at wunderkind") for name in named(row[0])}
    for step, statuses in wunderkind.STATUSES.items():
        if step not in ("queued", "sent", "delivered"):
            assert said["opted_out_later" if step == "opted_out" else step] == list(statuses)
