"""Python's cyclic garbage collector, kept out of the batch.

Every record that the client hands over is an object that the collector tracks, so while a batch is
being filled it looks at tens of thousands of live records again and again: a third of the time
(docs/decisions/0005-no-collection-inside-a-batch.md). Records make no cycles, so nothing is lost by
collecting now and then between batches instead.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, TypeAlias

from processor.clock import Clock

EVERY_S: Final = 10.0

Collector: TypeAlias = Callable[[Clock], AbstractContextManager[Callable[[], None]]]
"""What becomes of the collector while a worker runs; gives what is called between batches."""


@contextmanager
def collected_between_batches(clock: Clock) -> Iterator[Callable[[], None]]:
    """Turn the collector off, and give what is to be called between batches in its stead.

    What exists at the start (modules, mostly) is not looked at again.
    """
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    collected_s = clock.monotonic_s()

    def tidy() -> None:
        nonlocal collected_s
        now_s = clock.monotonic_s()
        if now_s - collected_s >= EVERY_S:
            collected_s = now_s
            gc.collect()

    try:
        yield tidy
    finally:
        if was_on:
            gc.enable()
        gc.unfreeze()


@contextmanager
def left_alone(clock: Clock) -> Iterator[Callable[[], None]]:
    """The collector stays as it is: the process is another's, and so is its garbage."""
    del clock
    yield lambda: None
