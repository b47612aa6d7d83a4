"""Which rows a step cannot compute, found by running it on parts of them.

A step that works row by row fails for its rows, whatever lies beside them. So halving finds the
first of them in log2(n) runs of at most n rows in all, and the rest is looked at in the same way::

    . . . . x . . .   fails: which is it?
    . . . .           passes, so it is behind
            x .       fails, so it is one of these
            x         this one: its error is the reason
              . .     passes, and that is all
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import Final

from polars.exceptions import PanicException

from processor.errors import ProcessorError

ROW_ERRORS: Final = (Exception, PanicException, SystemExit, GeneratorExit, CancelledError)
"""What an expression may raise, of the column engine and of the user's own functions.

These are not to end the process: but for an interrupt, which is of who started it.
"""

_REASON_MAX: Final = 300


class StepError(ProcessorError):
    """A step cannot compute a batch, though it can compute each of its records alone."""

    code = "step"


def failing(attempt: Callable[[int, int], object], rows: int) -> dict[int, str]:
    """The rows from which a step fails, with what it says of each; all others it can compute.

    Takes at most ``k * (log2(n) + 3) + 1`` calls for k of n rows, with at most ``2 * k * n`` rows
    together.

    Args:
        attempt: runs the step on the rows from one number up to another; raises where it fails.
        rows: how many there are; the step has failed for all of them together.

    Raises:
        StepError: a row at which halving ends can be computed alone.

    >>> found = failing(lambda first, end: [1 / n for n in (1, 0, 2, 0)[first:end]], 4)
    >>> found
    {1: 'ZeroDivisionError: division by zero', 3: 'ZeroDivisionError: division by zero'}
    """
    found: dict[int, str] = {}
    first, end, fails = 0, rows, True
    while first < rows:
        error = None
        if not fails and (error := _error(attempt, first, end)) is None:
            first, end = end, rows
            continue
        while end - first > 1:
            middle = (first + end) // 2
            half = _error(attempt, first, middle)
            if half is None:
                first, error = middle, None
            else:
                end, error = middle, half
        error = error or _error(attempt, first, end)
        if error is None:
            raise StepError(
                "it fails for the batch, and not for the record at which it seems to",
                remedy="see that what the step computes depends on nothing but the row",
            )
        found[first] = told(error)
        first, fails = first + 1, False
        # One may be alone; from the second on, the next is expected as far as they lay apart.
        end = rows if len(found) == 1 else min(rows, first + 2 * (first // len(found)))
    return found


def told(error: BaseException) -> str:
    r"""What an error says, in one line: of the column engine's, the first of many.

    >>> told(ValueError("no number\n\nThis error occurred in the following expression: ..."))
    'ValueError: no number'
    """
    line = next(iter(str(error).strip().splitlines()), "")
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    return text if len(text) <= _REASON_MAX else f"{text[:_REASON_MAX]}…"


def _error(attempt: Callable[[int, int], object], first: int, end: int) -> BaseException | None:
    try:
        attempt(first, end)
    except ProcessorError:
        raise
    except ROW_ERRORS as error:
        return error
    return None
