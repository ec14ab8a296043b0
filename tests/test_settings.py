"""Settings: the source of each value, and errors that name a wrong one."""

import re
import tomllib
from dataclasses import fields
from importlib import resources
from pathlib import Path

import pytest

from waypost.errors import Invalid
from waypost.settings import Settings, load_settings

DEFAULTS = resources.files("waypost").joinpath("settings.default.toml").read_text("utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "waypost.toml").write_text('port = 1\nhost = "file"\nlog_level = "debug"\n', "utf-8")
    return tmp_path


def test_the_defaults_are_the_documentation(tmp_path):
    settings = load_settings({}, data=str(tmp_path))
    documented = tomllib.loads(DEFAULTS)
    assert {field.name for field in fields(Settings)} == documented.keys()
    assert {name: getattr(settings, name) for name in documented} == {**documented, "data": str(tmp_path)}


def test_every_default_stands_under_a_comment_that_names_its_variable():
    seen = 0
    for block in re.split(r"\n\s*\n", DEFAULTS):
        lines = block.strip().splitlines()
        comment = "\n".join(line for line in lines if line.startswith("#"))
        for line in lines:
            if not line.startswith("#"):
                assert re.search(rf"\bWAYPOST_{line.split()[0].upper()}\b", comment), line
                seen += 1
    assert seen == len(fields(Settings))


def test_what_is_nearer_wins(data):
    environ = {"WAYPOST_DATA": str(data), "WAYPOST_HOST": "environment", "OTHER": "x", "WAYPOST_UNKNOWN": "x"}
    settings = load_settings({**environ, "WAYPOST_LOG_LEVEL": "warning"}, log_level="error", port=None)
    assert (settings.log_format, settings.port) == ("console", 1)
    assert (settings.host, settings.log_level) == ("environment", "error")
    assert settings.data_dir == data
    # The file is in the directory that the command line names.
    elsewhere = load_settings(environ, data=data / "elsewhere")
    assert (elsewhere.port, elsewhere.data_dir) == (8080, data / "elsewhere")


def test_text_from_the_environment_becomes_what_it_stands_for(tmp_path):
    environ = {"WAYPOST_RETRY_BASE": "0.05", "WAYPOST_PORT": " 9000 ", "WAYPOST_EVENT_DAYS": "7"}
    settings = load_settings(environ, data=str(tmp_path), max_waiting="5")
    assert (settings.retry_base, settings.port, settings.event_days, settings.max_waiting) == (0.05, 9000, 7, 5)


def test_a_whole_number_will_do_for_a_fraction(data):
    (data / "waypost.toml").write_text("retry_base = 5", "utf-8")
    assert load_settings({}, data=str(data)).retry_base == 5.0


def test_how_the_world_reaches_this_server(tmp_path):
    assert load_settings({}, data=str(tmp_path), port=9).base_url == "http://127.0.0.1:9"
    named = load_settings({}, data=str(tmp_path), public_url="https://example.com/waypost/")
    assert named.base_url == "https://example.com/waypost"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "http"),
        ("port", "80.5"),
        ("port", ""),
        ("retry_base", "0"),
        ("retry_base", "80.1"),
        ("retry_base", "nan"),
        ("retry_base", "inf"),
        ("link_timeout", "0"),
        ("link_timeout", "31"),
        ("link_timeout", "nan"),
        ("link_fresh", "-1"),
        ("link_failed_fresh", "inf"),
        ("event_days", "0"),
        ("attempt_days", "0"),
        ("max_in_flight", "0"),
        ("max_waiting", "-5"),
        ("log_format", "xml"),
        ("log_level", "DEBUG"),
        ("database_url", "mysql://user:hunter2@host/name"),
        ("smtp_url", "http://user:hunter2@host"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, value, tmp_path):
    with pytest.raises(Invalid, match=f"The setting {name} ") as caught:
        load_settings({f"WAYPOST_{name.upper()}": value}, data=str(tmp_path))
    assert caught.value.code == "invalid_setting"
    assert "hunter2" not in caught.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "postgres://user@host/name"),
        ("database_url", "postgresql://user@host/name"),
        ("smtp_url", "smtp://host"),
        ("smtp_url", "smtps://host"),
        ("port", "0"),
        ("retry_base", "80"),
        ("link_fresh", "0"),
        ("link_timeout", "0.1"),
    ],
)
def test_values_at_the_edge_are_taken(name, value, tmp_path):
    assert str(getattr(load_settings({}, data=str(tmp_path), **{name: value}), name)).startswith(value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"port = true", "port is True"),
        (b"port = 80.0", "port is 80.0"),
        (b"host = 5", "host is 5"),
        (b"host = ['a']", "host is"),
        (b"retry_base = false", "retry_base is False"),
        (b"prot = 80", "Unknown setting 'prot'"),
        (b"[server]\nport = 80", "Unknown setting 'server'"),
        (b"port =", "not valid TOML"),
        (b"host = '\xff'", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_the_file(text, named, tmp_path):
    (tmp_path / "waypost.toml").write_bytes(text)
    with pytest.raises(Invalid, match=named) as caught:
        load_settings({}, data=str(tmp_path))
    assert str(tmp_path / "waypost.toml") in caught.value.detail


def test_there_is_no_setting_by_another_name(tmp_path):
    with pytest.raises(Invalid, match="Unknown setting 'colour'"):
        load_settings({}, data=str(tmp_path), colour="red")
