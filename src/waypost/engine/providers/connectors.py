"""Find connectors: those shipped with Waypost, and those that a workspace added."""

from functools import cache, lru_cache
from importlib import resources

from waypost.domain.providers.connector import Connector
from waypost.domain.providers.definition import parse_connector, read_stored_connector
from waypost.errors import NotFound
from waypost.storage.database import Tx


@cache
def shipped() -> dict[str, Connector]:
    """Return the shipped connectors by name."""
    return {name: parse_connector(text, f"{name}.toml") for name, text in definitions().items()}


@cache
def definitions() -> dict[str, str]:
    """Return the TOML of the shipped connectors by name."""
    folder = resources.files("waypost.domain.providers").joinpath("catalog")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file.read_text("utf-8") for file in files}


@lru_cache(maxsize=1000)
def read_own(definition: str, name: str) -> Connector:
    """Parse a workspace's own connector; cached by text. Raises Invalid as `read_stored_connector` does."""
    return read_stored_connector(definition, name)


async def find_connector(tx: Tx, workspace_id: int, name: str) -> Connector:
    """Return the connector of this name: the workspace's own, or else the shipped one.

    Raises NotFound (code `unknown_connector`) when there is none.
    """
    row = await tx.row("connectors.get", workspace_id=workspace_id, name=name)
    if row is not None:
        return read_own(row[0], name)
    if (found := shipped().get(name)) is not None:
        return found
    raise NotFound(
        f"The connector {name[:64]!r} does not exist. GET /v1/connectors lists all connectors.",
        code="unknown_connector",
    )
