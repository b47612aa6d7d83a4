"""Which line of the user's file is calling."""

from __future__ import annotations

from pathlib import Path

from processor.model import location
from processor.model.location import Location

_OWN = str(Path(__file__).parent)


def caller() -> Location:
    """The innermost line outside this package."""
    return location.caller(_OWN)
