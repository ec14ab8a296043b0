"""Secrets at rest: encrypted with a key from the settings, or with one kept beside the data."""

import base64
import os
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from waypost.errors import Invalid, Unavailable
from waypost.storage.data_directory import close_to_others, make_private_folder, unusable
from waypost.storage.database import Database, Tx

#: The file in the data directory with the key, where the settings have none.
KEY_FILE = "secret.key"


class Encryption:
    """Encrypts with the first key and decrypts with any, so that keys can be rotated."""

    def __init__(self, keys: list[bytes]) -> None:
        fernets = [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
        self._first = fernets[0]
        self._fernet = MultiFernet(fernets)

    def encrypt(self, text: str) -> str:
        """The text, encrypted."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The text again; Unavailable when no key fits."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise Unavailable(
                "A stored secret cannot be decrypted: the secret key is not the one it was stored with.",
                code="wrong_secret_key",
            ) from error

    def reencrypt(self, sealed: str) -> str:
        """The same text under the first key: as it is when it is so already; Unavailable when no key fits."""
        try:
            self._first.decrypt(sealed.encode())
        except InvalidToken:
            return self.encrypt(self.open(sealed))
        return sealed


def open_encryption(secret_key: str, data: Path) -> Encryption:
    """The encryption with the keys in the settings; with none, with the key in `secret.key`, made when it is missing.

    Where a database may hold secrets already, `require_secret_key` comes first.
    """
    if secret_key:
        return read_keys(secret_key)
    file = data / KEY_FILE
    return read_keys(_read_key(file) or _make_key(file), f"in {file}")


def read_keys(text: str, source: str = "of the setting secret_key") -> Encryption:
    """The encryption with keys as they are written in the settings; Invalid when one is no key."""
    keys = []
    for part in text.split(","):
        try:
            key = base64.b64decode(part.strip().translate(str.maketrans("-_", "+/")), validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise Invalid(
                f"Each key {source} must be 32 bytes in base64; `openssl rand -base64 32` makes one.",
                code="invalid_setting",
            )
        keys.append(key)
    return Encryption(keys)


async def require_secret_key(database: Database, secret_key: str, data: Path) -> None:
    """Refuse to go on (Unavailable) without the key of secrets that are stored: a new one could not decrypt them."""
    file = data / KEY_FILE
    if not secret_key and _read_key(file) is None and await database.read(_has_secrets):
        raise Unavailable(
            f"The database holds secrets, and the key that encrypted them is missing: {file} does not exist. "
            "Put the file back from a backup, or set WAYPOST_SECRET_KEY to the key.",
            code="secret_key_missing",
        )


def has_secret_key(secret_key: str, data: Path) -> bool:
    """Whether there is a key already; without one, the next start makes it."""
    return bool(secret_key) or _read_key(data / KEY_FILE) is not None


async def _has_secrets(tx: Tx) -> bool:
    row = await tx.row("secrets.any")
    return bool(row and row[0])


def _read_key(file: Path) -> str | None:
    """The text of the key in a file; None where there is no file."""
    try:
        close_to_others(file)
        return file.read_text("latin-1").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(file, error) from error


def _make_key(file: Path) -> str:
    make_private_folder(file.parent)
    text = base64.b64encode(os.urandom(32)).decode()
    try:
        # Written whole under another name first, so that a crash cannot leave half a key; the first one there wins.
        # A random name, since a container's processes have the same number every time. Only the owner may read it.
        descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
        draft = Path(name)
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(text + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            text = file.read_text("latin-1").strip()
        finally:
            draft.unlink()
        # A key that a power cut takes away takes every secret with it that was encrypted since.
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise unusable(file, error) from error
    return text
