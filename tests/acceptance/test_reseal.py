"""The key of all secrets, rotated from the command line: once everything is sealed anew, the old one can go."""

import asyncio
import base64
import json
import os
import subprocess
from pathlib import Path

from tests.acceptance.programs import WAYPOST
from waypost.clock import Ids, now_us
from waypost.engine import accounts, providers
from waypost.engine.catalogue import shipped
from waypost.engine.providers import Draft
from waypost.engine.vault import open_vault
from waypost.storage.sqlite import SQLite

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def reseal(data: Path, keys: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "WAYPOST_SECRET_KEY": keys}
    command = [WAYPOST, "reseal", "--data", str(data), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def fill(data: Path) -> None:
    """A connection whose secrets are sealed with the old key."""
    database, ids, vault = SQLite(data / "waypost.db"), Ids(1), open_vault(OLD, data)
    await database.migrate()
    await database.transact(accounts.create_workspace, ids, "first", now_us())
    connector = shipped()["smtp"]
    config = {"host": "mail.example.com", "from_email": "shop@example.com", "username": "shop", "password": "swordfish"}
    draft = providers.check_draft(Draft(name="Mail", config=config), connector, {})
    await database.transact(
        providers.create_connection, ids, vault, 1, connector, draft, "key for receipts", None, now_us()
    )
    await database.close()


async def password(data: Path, keys: str) -> str:
    database = SQLite(data / "waypost.db")
    (found,) = await database.read(providers.list_accounts, open_vault(keys, data), 1, 1 << 62, 10)
    await database.close()
    return str(found.config["password"])


def test_the_old_key_can_go_after_a_reseal(tmp_path: Path):
    asyncio.run(fill(tmp_path))
    refused = reseal(tmp_path, NEW)
    assert refused.returncode == 1
    assert "wrong_secret_key" in refused.stderr
    done = reseal(tmp_path, f"{NEW},{OLD}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"seen": 1, "changed": 1}
    assert asyncio.run(password(tmp_path, NEW)) == "swordfish"
    again = reseal(tmp_path, NEW)
    assert (again.returncode, again.stdout) == (0, "0 of 1 rows with secrets were encrypted anew\n")
    assert "swordfish" not in done.stdout + done.stderr + refused.stderr
