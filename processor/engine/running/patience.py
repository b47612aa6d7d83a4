"""How faults that pass by themselves are borne: with pauses that grow, and not for ever.

::

    the first    tried again at once
    then         0.1 s later, 0.2 s, 0.4 s ... 5 s after each further one
    in the end   what has lasted too long goes up, with how long it has lasted

A broker or a Redis that is away for a minute is such a fault, and costs a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from processor.clock import Clock
from processor.errors import ProcessorError

GIVE_UP_S: Final = 900.0
FIRST_S: Final = 0.1
MOST_S: Final = 5.0
REMEDY: Final = "see that the brokers and Redis run and can be reached from here, then start again"


class Patience:
    """Bears errors one after the other until all is well again.

    Args:
        give_up_after_s: how long they are borne.
        wait: waits so many seconds; may return before.
        tell: hears of each error, with the seconds until the next try.
        ended: hears once that all is well again, with the seconds since the first error.

    >>> from processor.clock import ManualClock
    >>> clock = ManualClock(); patience = Patience(clock, clock.advance, give_up_after_s=60)
    >>> for _ in range(3):
    ...     patience.bear(ProcessorError("away"))
    >>> clock.monotonic_s()
    0.3
    """

    def __init__(
        self,
        clock: Clock,
        wait: Callable[[float], object],
        *,
        give_up_after_s: float = GIVE_UP_S,
        tell: Callable[[ProcessorError, float], None] = lambda _, __: None,
        ended: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._clock, self._wait, self._tell, self._ended = clock, wait, tell, ended
        self._give_up_after_s = give_up_after_s
        self._since_s: float | None = None
        self._pause_s = 0.0

    def well(self) -> None:
        """All is well: what comes next is a fault of its own."""
        if self._since_s is not None:
            self._ended(self._clock.monotonic_s() - self._since_s)
        self._since_s = None
        self._pause_s = 0.0

    def rest(self, seconds: float) -> None:
        """Wait for what is no fault."""
        self._wait(seconds)

    def bear(self, error: ProcessorError) -> None:
        """Wait before the next try; raises the error when faults have lasted too long."""
        now_s = self._clock.monotonic_s()
        self._since_s = now_s if self._since_s is None else self._since_s
        lasted_s = now_s - self._since_s
        if lasted_s >= self._give_up_after_s:
            raise type(error)(
                f"{error.message}; given up after {lasted_s:.0f} s", remedy=error.remedy or REMEDY
            ) from error
        self._tell(error, self._pause_s)
        if self._pause_s:
            self._wait(self._pause_s)
        self._pause_s = min(MOST_S, 2 * self._pause_s or FIRST_S)
