"""What a topology is asked to do, by way of the public names: nothing of it is done here.

A handle stays a description. `processor.start` and `processor.collect` live above this room, in
`processor.app`; the package loads them when they are called (docs/decisions/0030).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

import processor
from processor.feeds.values import Values

if TYPE_CHECKING:
    from typing import Unpack

    from processor.metrics.progress import BatchReport
    from processor.settings import Given

Feed: TypeAlias = str | Path | Values
"""A file, named, or the records themselves."""


class Runnable:
    """What can be started: a topology, or a definition of one."""

    def start(
        self,
        *,
        feed: Mapping[str, Feed] | None = None,
        print: bool = False,  # noqa: A002 - the word that the command line has
        on_progress: Callable[[BatchReport], object] | None = None,
        **settings: Unpack[Given],
    ) -> processor.Query:
        """Start it in threads of this process; the arguments are those of `processor.start`."""
        return processor.start(self, feed=feed, print=print, on_progress=on_progress, **settings)

    def collect(
        self,
        *,
        sink: str | None = None,
        feed: Mapping[str, Feed] | None = None,
        **settings: Unpack[Given],
    ) -> pl.DataFrame:
        """The rows of a sink over bounded input; the arguments are those of `processor.collect`."""
        return processor.collect(self, sink=sink, feed=feed, **settings)
