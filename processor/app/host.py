"""The process that workers run in, as far as they have to do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from processor import telling
from processor.app.backends import Backends
from processor.app.health import Pulse, end_process
from processor.engine.running.rubbish import Collector, collected_between_batches
from processor.errors import ProcessorError
from processor.metrics.progress import BatchReport
from processor.model.log import TopicPartition
from processor.plan.nodes import Source


def _nothing(_: object) -> None:
    pass


def _as_it_is(source: Source) -> Source | None:
    return source


@dataclass(frozen=True, slots=True)
class Host:
    """What a run tells the process that it is in, and what it may do to it.

    Left as it is, the process is the processor's own, as with `processor run`. Where it is a
    user's (`processor.app.query`), nothing is printed, the collector is left alone, and a worker
    that does not end is let go of.

    Args:
        line: one line that says which log and store are in use.
        waits: a server is away, and the run has not begun.
        connected: the log and the store are there; nothing was prepared or fed.
        ready: topics are there and fed; the workers start.
        begins: a worker starts, in this thread.
        ends: that worker has ended, in whatever way.
        own: a feeder's thread begins, by its identity.
        on_batch: a worker has committed a batch.
        failed: a worker of this application has ended by this error.
        overdue: a worker hangs, or does not end in its time.
        finished: all workers have ended in order; log and store are still there.
        shown: takes the rows of tables that committed batches have: whose, and of which task.
        collector: what becomes of Python's garbage meanwhile.
        feeds: a source as its feed is run; ``None``: it is not.
        finite: nothing ever comes behind the end of the input, for a run that ends there.

    >>> seen = []
    >>> Host(line=seen.append).line("log: embedded")
    >>> seen
    ['log: embedded']
    """

    line: Callable[[str], None] = telling.line
    waits: Callable[[ProcessorError], None] = _nothing
    connected: Callable[[Backends], None] = _nothing
    ready: Callable[[Backends], None] = _nothing
    begins: Callable[[Pulse], None] = _nothing
    ends: Callable[[Pulse], None] = _nothing
    own: Callable[[int], object] = _nothing
    on_batch: Callable[[BatchReport], None] = _nothing
    failed: Callable[[tuple[str, BaseException]], None] = _nothing
    overdue: Callable[[ProcessorError], None] = end_process
    finished: Callable[[Backends], None] = _nothing
    shown: Callable[[str, TopicPartition, pl.DataFrame], None] = lambda *_: None
    collector: Collector = collected_between_batches
    feeds: Callable[[Source], Source | None] = _as_it_is
    finite: bool = False
