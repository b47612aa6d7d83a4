"""Nodes of joins, and how the columns of the topic are called that both sides go into."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from processor.model import location

if TYPE_CHECKING:
    from processor.plan.nodes import How, Node

SIDE: Final = "side"
"""The column of a join's topic that says of which side a row is: true for the right."""
AT: Final = "at"
"""Its column of event times, of both sides."""
KEY: Final = "k."
LEFT: Final = "l."
RIGHT: Final = "r."
"""What the names of its other columns begin with: keys, and each side's own."""


@dataclass(frozen=True, slots=True)
class Join:
    """Rows of two streams with equal keys, the right's event time ``lower`` to ``upper`` behind.

    ``times`` are the columns of event times, where they are named. No stage has one: the stages in
    front hand both sides on, tagged, and the one behind has a `Joined`.
    """

    left: Node
    right: Node
    on: tuple[str, ...]
    lower: timedelta
    upper: timedelta
    how: How
    at: location.Location
    times: tuple[str | None, str | None] = (None, None)
    suffix: str = "_right"
    name: str | None = None

    @property
    def parents(self) -> tuple[Node, Node]:
        """Both sides."""
        return self.left, self.right


@dataclass(frozen=True, slots=True)
class Joined:
    """The pairs of a topic that has both sides of a join; in a left one, rows without one too.

    ``columns`` are its own, each with the one of the topic that it is; ``keys`` are the topic's.
    No row is further behind the least watermark of both sides than `lag`, by the columns ``times``.
    """

    parent: Node
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    lower: timedelta
    upper: timedelta
    how: How
    times: tuple[str, ...]
    at: location.Location

    def lag(self) -> timedelta:
        """How far behind the watermark of what is read an event time may be that comes out."""
        return max(self.upper, -self.lower, timedelta(0))
