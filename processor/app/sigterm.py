"""SIGTERM while a query is awaited, in a program that has no handler for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def told_to_end() -> Iterator[None]:
    """The signal becomes ``SystemExit`` in the main thread, unless somebody else has asked for it.

    The exit code is 0, as that of `processor run` is: to be told to stop is no failure.

    >>> before = signal.getsignal(signal.SIGTERM)
    >>> with told_to_end():
    ...     pass
    >>> signal.getsignal(signal.SIGTERM) is before
    True
    """
    free = threading.current_thread() is threading.main_thread()
    if not free or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
