"""Which line of the user's file is calling."""

from __future__ import annotations

import sys
from pathlib import Path

from processor.plan.nodes import Location

_OWN = str(Path(__file__).parent)


def caller() -> Location:
    """The innermost line outside this package."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to the caller without a traceback
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)
