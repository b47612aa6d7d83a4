"""Calls a function of the user's with rows of one task and epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import polars as pl

from processor.errors import SinkError
from processor.model.called import Batch
from processor.plan import nodes

_REMEDY: Final = (
    "correct the function, or what it writes to, and start again: it is called with the same rows "
    "and the same epoch, and nothing of this batch is committed before. A row that it cannot take "
    "it has to pass over by itself: the topology's steps must stay as they are until then"
)


def call(sink: nodes.Sink, rows: pl.DataFrame, batch: Batch, where: str, partition: int) -> None:
    """Call it; ``where`` names the records that the rows come of.

    Raises `SinkError` for whatever the function raises.
    """
    called = sink.outside
    if not isinstance(called, nodes.Call):
        raise TypeError(f"{sink.topic} is not called")
    try:
        if called.each:
            _each(called.function, rows, partition, batch.epoch)
        elif called.told:
            called.function(rows, batch.epoch, batch)
        else:
            called.function(rows, batch.epoch)
    except Exception as error:
        step = "foreach" if called.each else "foreach_batch"
        raise SinkError(
            f"{where}: step {batch.application}/{step} at {sink.at}: {called.name} raised "
            f"{type(error).__name__} in epoch {batch.epoch}, with {rows.height} rows: "
            f"{'; '.join([_said(error), *getattr(error, '__notes__', ())])}",
            remedy=_REMEDY,
        ) from error


def _each(function: Any, rows: pl.DataFrame, partition: int, epoch: int) -> None:
    """One row after the other; an object is opened before, and closed with what went wrong."""
    process = getattr(function, "process", None)
    if process is None:
        for row in rows.iter_rows(named=True):
            function(row)
        return
    opened, failed = getattr(function, "open", None), None
    wanted = opened is None or opened(partition, epoch) is not False
    try:
        for row in rows.iter_rows(named=True) if wanted else ():
            process(row)
    except Exception as error:
        failed = error
        raise
    finally:
        closed = getattr(function, "close", None)
        if closed is not None:
            _close(closed, failed)


def _close(closed: Callable[[Exception | None], Any], failed: Exception | None) -> None:
    """Close an object; what went wrong before stays the error, where there is one."""
    try:
        closed(failed)
    except Exception as error:
        if failed is None:
            raise
        failed.add_note(f"close raised {type(error).__name__} too: {_said(error)}")


def _said(error: Exception) -> str:
    """Its text, which is the user's own to make, and may fail."""
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - the first error must not be lost for it
        return f"(its text cannot be told: {type(second).__name__})"
