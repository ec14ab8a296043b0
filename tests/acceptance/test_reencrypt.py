"""Rotation of the secret key by the command line: after the re-encryption the old key can be removed."""

import asyncio
import base64
import json
import os
import subprocess
from pathlib import Path

from tests.acceptance.programs import WAYPOST
from waypost.clock import Ids, now_us
from waypost.engine.accounts import workspaces
from waypost.engine.providers import connection_records
from waypost.engine.providers.connection_records import ConnectionDraft
from waypost.engine.providers.connectors import shipped
from waypost.engine.runtime.encryption import open_encryption
from waypost.storage.sqlite import SQLite

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def reencrypt(data: Path, keys: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "WAYPOST_SECRET_KEY": keys}
    command = [WAYPOST, "reencrypt", "--data", str(data), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def fill(data: Path) -> None:
    """Create a connection whose secrets are encrypted with the old key."""
    database, ids, encryption = SQLite(data / "waypost.db"), Ids(1), open_encryption(OLD, data)
    await database.migrate()
    await database.transact(workspaces.create_workspace, ids, "first", now_us())
    connector = shipped()["smtp"]
    config = {"host": "mail.example.com", "from_email": "shop@example.com", "username": "shop", "password": "swordfish"}
    draft = connection_records.check_draft(ConnectionDraft(name="Mail", config=config), connector, {})
    await database.transact(
        connection_records.create_connection, ids, encryption, 1, connector, draft, "key for receipts", None, now_us()
    )
    await database.close()


async def password(data: Path, keys: str) -> str:
    database = SQLite(data / "waypost.db")
    (found,) = await database.read(connection_records.list_connections, open_encryption(keys, data), 1, 1 << 62, 10)
    await database.close()
    return str(found.config["password"])


def test_the_old_key_can_go_after_a_rotation(tmp_path: Path):
    asyncio.run(fill(tmp_path))
    refused = reencrypt(tmp_path, NEW)
    assert refused.returncode == 1
    assert "wrong_secret_key" in refused.stderr
    done = reencrypt(tmp_path, f"{NEW},{OLD}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"seen": 1, "changed": 1}
    assert asyncio.run(password(tmp_path, NEW)) == "swordfish"
    again = reencrypt(tmp_path, NEW)
    assert (again.returncode, again.stdout) == (0, "0 of 1 rows with secrets were re-encrypted\n")
    assert "swordfish" not in done.stdout + done.stderr + refused.stderr
