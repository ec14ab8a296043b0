"""The address ranges of data centers, read from a file at the start."""

from pathlib import Path

from waypost.domain.values.address_ranges import AddressRanges, read_ranges
from waypost.errors import Invalid


def load_ranges(file: str) -> AddressRanges:
    """Return the ranges in a file, none for an empty name; raise Invalid for a file that cannot be read."""
    if not file:
        return AddressRanges([])
    try:
        return read_ranges(Path(file).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"The setting datacenter_ranges names {file}, which cannot be read: {error}.", code="invalid_setting"
        ) from error
