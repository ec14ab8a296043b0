"""Secrets at rest: encrypted with a key from the settings, or with one kept beside the data."""

import base64
import os
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from waypost.errors import Invalid, Unavailable


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
    """The vault for the keys in the settings; with none, for the key in `secret.key`, made when it is missing."""
    source = "of the setting secret_key"
    if not secret_key:
        file = data / "secret.key"
        source = f"in {file}"
        secret_key = _kept_key(file)
    keys = []
    for part in secret_key.split(","):
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


def _kept_key(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return file.read_text("latin-1").strip()
    except FileNotFoundError:
        pass
    text = base64.b64encode(os.urandom(32)).decode()
    # Written whole under another name first, so that a crash cannot leave half a key; the first one there wins.
    # A name of chance, since a container's processes have the same number every time. Only the owner may read it.
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
    # A key that a power cut takes away takes every secret with it that was sealed since.
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return text
