"""The data directory and its files. Only the user of the process may read them: they have personal data and keys."""

import os
import stat
from pathlib import Path

from waypost.errors import Unavailable

FOLDER = 0o700
FILE = 0o600
#: The permissions of the group and of all other users.
OTHERS = 0o077
#: Prefixes of the names of Waypost's files in the data directory. `demo` is the data of `waypost demo`.
OURS = ("waypost.", "secret.key", "demo")
#: Suffixes of a SQLite database and the files beside it.
SUFFIXES = ("", "-wal", "-shm", "-journal")


def make_private_folder(folder: Path) -> None:
    """Create the data directory for this user only; raise Unavailable if it cannot be used.

    Remove the permissions of other users from a directory of an older version, unless it contains other files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER)
        if _is_ours_and_open(folder) and all(entry.name.startswith(OURS) for entry in folder.iterdir()):
            folder.chmod(FOLDER)
    except OSError as error:
        raise unusable(folder, error) from error


def make_private_file(file: Path) -> None:
    """Create a database file for this user only, or remove the permissions of other users from an existing one.

    SQLite gives the files beside the database the same permissions.
    """
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE))
        for suffix in SUFFIXES:
            close_to_others(file.with_name(file.name + suffix))
    except OSError as error:
        raise unusable(file, error) from error


def close_to_others(file: Path) -> None:
    """Remove the permissions of other users from a file of this user, if it exists."""
    try:
        if _is_ours_and_open(file):
            file.chmod(FILE)
    except FileNotFoundError:
        return


def open_to_others(folder: Path) -> list[Path]:
    """Return the files of the data directory, and the directory itself, that other users may read or change."""
    try:
        if not folder.exists() or not _mode(folder) & OTHERS:
            return []
        files = [entry for entry in sorted(folder.iterdir()) if entry.name.startswith(OURS) and entry.is_file()]
        found = [file for file in files if _mode(file) & OTHERS]
        # If others may enter the folder but read no file in it, only the names of files are visible.
        return [folder, *found] if found or _mode(folder) & stat.S_IWOTH else []
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(path: Path, error: OSError) -> Unavailable:
    """Return the error for a data directory, or a file in it, that cannot be used."""
    return Unavailable(
        f"{path} cannot be used: {error.strerror or error}. The data directory must be a folder that this user "
        "may read and write; --data or WAYPOST_DATA names it.",
        code="data_unusable",
    )


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _is_ours_and_open(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == os.geteuid() and bool(stat.S_IMODE(found.st_mode) & OTHERS)
