"""The data directory and its files: for the user of the process only, since they hold personal data and keys."""

import os
import stat
from pathlib import Path

from waypost.errors import Unavailable

FOLDER = 0o700
FILE = 0o600
#: What the group and all other users may do with a file.
OTHERS = 0o077
#: How the names of the files begin that Waypost puts into its data directory. `demo` is the data of `waypost demo`.
OURS = ("waypost.", "secret.key", "demo")
#: The files that SQLite keeps beside a database.
BESIDE = ("", "-wal", "-shm", "-journal")


def make_private_folder(folder: Path) -> None:
    """Make the data directory for this user only; Unavailable when it cannot be used.

    Close one that an older version made to other users, unless it holds files that are not ours.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER)
        if _is_ours_and_open(folder) and all(entry.name.startswith(OURS) for entry in folder.iterdir()):
            folder.chmod(FOLDER)
    except OSError as error:
        raise unusable(folder, error) from error


def make_private_file(file: Path) -> None:
    """Make a database file for this user only where there is none, and close one that an older version made.

    SQLite gives the files that it makes beside the database the same permissions.
    """
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE))
        for suffix in BESIDE:
            close_to_others(file.with_name(file.name + suffix))
    except OSError as error:
        raise unusable(file, error) from error


def close_to_others(file: Path) -> None:
    """Take a file that belongs to this user away from all other users, where it exists."""
    try:
        if _is_ours_and_open(file):
            file.chmod(FILE)
    except FileNotFoundError:
        return


def open_to_others(folder: Path) -> list[Path]:
    """Return what other users of the machine may read or change in the data directory, itself included."""
    try:
        if not folder.exists() or not _mode(folder) & OTHERS:
            return []
        files = [entry for entry in sorted(folder.iterdir()) if entry.name.startswith(OURS) and entry.is_file()]
        found = [file for file in files if _mode(file) & OTHERS]
        # Where a folder may be entered and every file in it is closed, only the names can be read.
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
