"""When a batch that fails again and again is given up, and as what."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from processor.errors import FencedError, LogError, RetriableError, StateLostError
from processor.model.log import TopicPartition

REDO_MAX: Final = 5


def check(app: str, times: int, refusal: LogError | None, gone: Collection[TopicPartition]) -> None:
    """Raise when a batch has failed too often in a row.

    ``refusal`` is why the log did not take it: a `LogError` where that has a remedy, since then it
    does not pass by itself, else a `RetriableError`. ``gone`` are partitions of which the store has
    lost what it was just given: a `StateLostError`.

    >>> check("rides", 5, LogError("no room"), ())
    """
    if times <= REDO_MAX:
        return
    if refusal is not None:
        raise (LogError if refusal.remedy else RetriableError)(
            f"{app}: a batch failed {times} times in a row, with: {refusal.message}",
            remedy=refusal.remedy,
        ) from refusal
    if gone:
        raise StateLostError(
            f"{app}: what was written to the store was gone again {times} times in a row, for "
            f"{', '.join(map(str, sorted(gone)))}",
            remedy="see that Redis keeps what it takes: maxmemory-policy noeviction, nobody else "
            "who deletes or flushes",
        )


def fenced(error: LogError | None, instance: str, *others: str) -> FencedError:
    """Why a worker has to join its group anew: the error names it once.

    ``others`` are what it is also called.

    >>> fenced(LogError("rides:host-0: flushing"), "rides.host-0", "rides:host-0").message
    'rides:host-0: flushing'
    >>> fenced(None, "rides.host-0", "rides:host-0").message
    'rides.host-0: its transaction cannot go on'
    """
    sort = type(error) if isinstance(error, FencedError) else FencedError
    said = error.message if error else "its transaction cannot go on"
    if not any(name in said for name in (instance, *others)):
        said = f"{instance}: {said}"
    return sort(said, remedy=error.remedy if error else "")
