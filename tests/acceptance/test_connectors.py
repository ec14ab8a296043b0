"""Connectors are added from files by the command line."""

import json
import re
from pathlib import Path

from tests.acceptance.programs import Server

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "add-a-provider.md"


def test_a_connector_from_a_file_can_be_used_at_once(server: Server, tmp_path: Path) -> None:
    found = re.search(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    file = tmp_path / "postcard.toml"
    file.write_text(found[1], "utf-8")
    assert "postcard (sms) is valid" in server.run_alone("connectors", "check", str(file)).stdout
    done = server.run("connectors", "add", str(file), "--json")
    assert json.loads(done.stdout) == {"name": "postcard", "channel": "sms"}
    listed = json.loads(server.run("connectors", "list", "--json").stdout)["data"]
    assert [row["name"] for row in listed if row["own"]] == ["postcard"]
    assert {"aws-pinpoint", "smtp"} < {row["name"] for row in listed}
    assert server.api().get("/v1/connectors/postcard")["own"] is True


def test_a_broken_definition_is_refused_with_its_line(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text('name = "broken"\nlabel = "Broken"\nchannel = "pigeon"\n', "utf-8")
    for command in ("check", "add"):
        done = (server.run_alone if command == "check" else server.run)("connectors", command, str(file))
        assert done.returncode == 2
        assert "invalid_connector" in done.stderr
        assert "line 3" in done.stderr
    assert not [row for row in json.loads(server.run("connectors", "list", "--json").stdout)["data"] if row["own"]]
