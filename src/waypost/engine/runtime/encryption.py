"""Encrypt secrets at rest with the keys of the settings, or with a key file in the data directory."""

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
    """Encrypts with the first key and decrypts with any of them, so that keys can be rotated."""

    def __init__(self, keys: list[bytes]) -> None:
        fernets = [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
        self._first = fernets[0]
        self._fernet = MultiFernet(fernets)

    def encrypt(self, text: str) -> str:
        """Encrypt a text."""
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """Decrypt a text; raise Unavailable when none of the keys can."""
        try:
            return self._fernet.decrypt(encrypted.encode()).decode()
        except InvalidToken as error:
            raise Unavailable(
                "A stored secret cannot be decrypted: the key that encrypted it is not in secret_key. Add that key.",
                code="wrong_secret_key",
            ) from error

    def reencrypt(self, encrypted: str) -> str:
        """Encrypt with the first key what another key encrypted; raise Unavailable when no key can decrypt it."""
        try:
            self._first.decrypt(encrypted.encode())
        except InvalidToken:
            return self.encrypt(self.decrypt(encrypted))
        return encrypted


def open_encryption(secret_key: str, data: Path) -> Encryption:
    """Return the encryption with the keys of the settings, or with the key in `secret.key`, created if missing.

    If the database may contain secrets, call `require_secret_key` first.
    """
    if secret_key:
        return read_keys(secret_key)
    file = data / KEY_FILE
    return read_keys(_read_key(file) or _make_key(file), f"in {file}")


def read_keys(text: str, source: str = "of the setting secret_key") -> Encryption:
    """Parse keys in the form of the settings; raise Invalid for a malformed one."""
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
    """Raise Unavailable when secrets are stored and no key exists: a new key could not decrypt them."""
    file = data / KEY_FILE
    if not secret_key and _read_key(file) is None and await database.read(_has_secrets):
        raise Unavailable(
            f"The database contains secrets, and the key that encrypted them is missing: {file} does not exist. "
            "Put the file back from a backup, or set WAYPOST_SECRET_KEY to the key.",
            code="secret_key_missing",
        )


def has_secret_key(secret_key: str, data: Path) -> bool:
    """Return whether a key exists; if not, the next start creates one."""
    return bool(secret_key) or _read_key(data / KEY_FILE) is not None


async def _has_secrets(tx: Tx) -> bool:
    row = await tx.row("secrets.any")
    return bool(row and row[0])


def _read_key(file: Path) -> str | None:
    """Return the text of a key file, or None if it does not exist."""
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
        # The file is written under a random name and then linked, so that a crash cannot leave half a key and only the
        # first of several processes creates it. Containers reuse process ids. Only the owner may read the file.
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
        # Sync the directory too: if a power cut lost the key, every secret encrypted since would be lost.
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise unusable(file, error) from error
    return text
