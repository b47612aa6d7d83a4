"""Libraries that only some formats need: an extra has them, and who lacks it is told so."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from processor.errors import TopologyError
from processor.model.location import Location

INSTALL: Final = 'pip install "processor[{}]"'


def needed(module: str, who: str, at: Location | str, extra: str = "registry") -> Any:
    """A module of an extra; raises `TopologyError` where it is not installed.

    >>> needed("no_such_module", "Protobuf", "rides.py:3")
    Traceback (most recent call last):
    processor.errors.TopologyError: rides.py:3: Protobuf needs no_such_module, which is missing
      remedy: pip install "processor[registry]"
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise TopologyError(
            f"{at}: {who} needs {error.name or module}, which is missing",
            remedy=INSTALL.format(extra),
        ) from error
