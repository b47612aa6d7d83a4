"""What a format has to say of the schemas that records were written with.

`processor.formats.writers` has it for each format, and loads them all: so it stands apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from processor.formats.base import Decoded
from processor.formats.registry import Kind, Schema, Wanted

Decode = Callable[[list[bytes]], Decoded]


class UnfitError(ValueError):
    """Records of a writer's schema cannot be read as the reader's columns; the reason."""


class Writers(Protocol):
    """A format, as a registry's schemas are read by it."""

    @property
    def kind(self) -> Kind:
        """What the registry calls its schemas."""
        ...

    @property
    def record(self) -> str:
        """The record's full name, which some subjects are called after."""
        ...

    @property
    def wanted(self) -> Wanted:
        """The format's own schema, as it is registered."""
        ...

    @property
    def index(self) -> bytes:
        """What a record has between the id and its own bytes."""
        ...

    def reading(self, schema: Schema, *, lenient: bool) -> Decode:
        """What reads the bytes behind an id of this schema; raises `UnfitError`.

        With ``lenient``, a column that may be null is null where the schema does not give it.
        """
        ...
