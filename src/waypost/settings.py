"""The settings: read once from the defaults, a file and the environment, then passed down."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from waypost.errors import Invalid

_CENTER = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings; `settings.default.toml` describes each field."""

    data: str
    host: str
    port: int
    database_url: str
    public_url: str
    data_centers: str
    retry_base: float
    allow_private: str
    egress_proxy: str
    link_timeout: float
    link_fresh: float
    link_failed_fresh: float
    smtp_url: str
    mail_from: str
    secret_key: str
    event_days: int
    attempt_days: int
    link_days: int
    trusted_proxies: str
    datacenter_ranges: str
    max_in_flight: int
    max_waiting: int
    max_connections: int
    import_mb: int
    log_format: str
    log_level: str

    @property
    def base_url(self) -> str:
        """Return the public URL of this server, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def data_center_urls(self) -> dict[str, str]:
        """Return the public URL of each data center by name, without a trailing slash; `global` always exists."""
        return {"global": self.base_url, **_read_centers(self.data_centers)}

    @property
    def data_dir(self) -> Path:
        """Return the data directory."""
        return Path(self.data)


def load_settings(environ: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """Return the effective settings: `given`, then `WAYPOST_…` variables, then `waypost.toml`, then the defaults.

    None in `given` means not given. Raise Invalid for an unknown key or a value that is not valid.
    """
    values = tomllib.loads(resources.files("waypost").joinpath("settings.default.toml").read_text("utf-8"))
    settings = Settings(**values)
    given = {name: value for name, value in given.items() if value is not None}
    settings = _replace(settings, {"data": environ.get("WAYPOST_DATA", settings.data)}, "WAYPOST_DATA")
    settings = _replace(settings, {k: v for k, v in given.items() if k == "data"}, "--data")
    file = settings.data_dir / "waypost.toml"
    try:
        values = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} is not valid TOML: {error}", code="invalid_setting") from error
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror or error}", code="invalid_setting") from error
    settings = _replace(settings, values, str(file))
    names = {f"WAYPOST_{field.name.upper()}": field.name for field in fields(Settings)}
    found = {names[key]: value for key, value in environ.items() if key in names}
    settings = _replace(settings, found, "the environment")
    settings = _replace(settings, given, "the command line")
    return _check(settings)


def _replace(settings: Settings, values: Mapping[str, Any], source: str) -> Settings:
    changes: dict[str, Any] = {}
    kinds = {field.name: type(getattr(settings, field.name)) for field in fields(Settings)}
    for name, value in values.items():
        if name not in kinds:
            raise Invalid(f"Unknown setting {name!r} (in {source}).", code="invalid_setting")
        try:
            changes[name] = _read(kinds[name], value)
        except (TypeError, ValueError) as error:
            raise Invalid(
                f"The setting {name} is {value!r} (in {source}); it must be of type {kinds[name].__name__}.",
                code="invalid_setting",
            ) from error
    return replace(settings, **changes)


def _read(kind: type, value: Any) -> Any:
    # The environment and the command line give text, which is converted. A file has types, which must be correct.
    if isinstance(value, str) or type(value) is kind or (kind, type(value)) == (float, int):
        return kind(value)
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError


def _check(settings: Settings) -> Settings:
    def refuse(name: str, expected: str) -> Invalid:
        # A URL may contain a password, which must not appear in a log.
        value = "" if name.endswith("_url") else f" is {getattr(settings, name)!r}; it"
        return Invalid(f"The setting {name}{value} must be {expected}.", code="invalid_setting")

    if not all(_CENTER.match(name) and _is_url(url) for name, url in _read_centers(settings.data_centers).items()):
        raise refuse("data_centers", "empty or like india=https://in.example.com, several separated by commas")
    if not 0 <= settings.port <= 65535:
        raise refuse("port", "from 0 to 65535")
    if not 0 < settings.retry_base <= 80:
        raise refuse("retry_base", "more than 0 and at most 80 seconds, so that ten retries fit in 24 hours")
    if not 0.1 <= settings.link_timeout <= 30:
        raise refuse("link_timeout", "from 0.1 to 30 seconds")
    for name in ("link_fresh", "link_failed_fresh"):
        if not 0 <= getattr(settings, name) <= 604_800:
            raise refuse(name, "from 0 to 604800 seconds, a week")
    for name in (
        "event_days",
        "attempt_days",
        "link_days",
        "max_in_flight",
        "max_waiting",
        "max_connections",
        "import_mb",
    ):
        if getattr(settings, name) < 1:
            raise refuse(name, "1 or more")
    if settings.log_format not in ("console", "json"):
        raise refuse("log_format", "console or json")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise refuse("log_level", "debug, info, warning or error")
    if settings.database_url and not settings.database_url.startswith(("postgresql://", "postgres://")):
        raise refuse("database_url", "empty or start with postgresql://")
    if settings.smtp_url and not settings.smtp_url.startswith(("smtp://", "smtps://")):
        raise refuse("smtp_url", "empty or start with smtp:// or smtps://")
    return settings


def _read_centers(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    return {name.strip(): url.strip().rstrip("/") for name, _, url in parts}


def _is_url(text: str) -> bool:
    """Return whether this can be a public URL, to which paths are appended."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        return False
