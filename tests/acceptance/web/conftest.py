"""Fixtures of the tests in a browser: the browser, and a server with an owner."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.acceptance.programs import Server
from tests.acceptance.web.browser import EMAIL, PASSWORD, running_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of one module; each page has a profile of its own."""
    with running_browser() as found:
        yield found


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Server]:
    """A server with an owner, EMAIL, who signs in with PASSWORD."""
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.001"})
    done = server.run("init", "--json", "--email", EMAIL, "--password", PASSWORD)
    assert done.returncode == 0, done.stderr
    server.keys = json.loads(done.stdout)
    server.start()
    yield server
    server.stop()
