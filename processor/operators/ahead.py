"""Event times that cannot be meant: further ahead than a bound of when the record was written.

One clock that is years ahead would move its partition's watermark, and all that follows would be
late for ever. A record's own timestamp in the log says when it was written, but to ask each record
costs a fortieth of a batch's time. So a partition has a *log time*, the largest timestamp that was
looked at, and only what is too far ahead of that is looked at::

    bound 1 hour        event time   timestamp   log time        then
    the first record        10:00       10:00    looked: 10:00   taken
    within the bound        10:50       10:50           10:00    taken, not looked at
    further ahead           11:30       11:30    looked: 11:30   taken
    a clock of 2099          2099       11:31    looked: 11:31   set aside

This is a function of the log alone, in the order of offsets, as lateness is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from processor.model.log import Message

_MICROS: Final = 1_000
_LOOKS: Final = 1_000


def ahead(
    times: npt.NDArray[np.int64],
    good: npt.NDArray[np.bool_],
    messages: Sequence[Message],
    bound_us: int,
    log_time: int | None,
) -> tuple[list[int], int | None]:
    """The rows of a partition that are too far ahead, and its log time after them.

    Args:
        times: event times in microseconds since 1970, in the order of offsets.
        good: which of them count at all.
        messages: the records, asked for their timestamps where it matters.
        bound_us: how far ahead an event time may be.
        log_time: the partition's log time before, in microseconds.

    A record without a timestamp, or with one from before 1970, is taken.
    """
    found: list[int] = []
    if log_time is not None and (not len(times) or int(times.max()) <= log_time + bound_us):
        return found, log_time
    rows = _beyond(np.flatnonzero(good), times, bound_us, log_time)
    looks = 1  # which as a rule leaves none to look at
    while len(rows):
        for row in rows[:looks].tolist():
            if log_time is not None and int(times[row]) <= log_time + bound_us:
                continue
            stamp = messages[row].timestamp()[1] * _MICROS
            if stamp > 0:
                log_time = stamp if log_time is None else max(stamp, log_time)
                if int(times[row]) > log_time + bound_us:
                    found.append(row)
        rows, looks = _beyond(rows[looks:], times, bound_us, log_time), _LOOKS
    return found, log_time


def _beyond(
    rows: npt.NDArray[np.intp], times: npt.NDArray[np.int64], bound_us: int, log_time: int | None
) -> npt.NDArray[np.intp]:
    if log_time is None:
        return rows
    # Two numbers of 64 bits may be further apart than 64 bits reach.
    return rows[times[rows] > min(log_time + bound_us, np.iinfo(np.int64).max)]
