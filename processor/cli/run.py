"""``processor run``: workers as processes of the group, or as threads of this process.

::

    one worker, or the embedded log    prepare here ──► threads here          (`work`)
    several workers on Kafka           prepare in a child ──► a child each    (`supervise`, `work`)

The process that watches over others imports none of what they need: it would hold that for nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from processor.errors import SettingsError

if TYPE_CHECKING:
    from processor.settings import Settings


def run(
    names: Sequence[str], settings: Settings, feed: Mapping[str, str], *, show: bool = False
) -> None:
    """Run until stopped, or until caught up; raises what made it stop.

    ``feed`` has files by topic for the embedded log; with ``show`` what is published is printed.
    """
    if show and settings.bootstrap_servers is not None:
        raise SettingsError(
            "--print shows what is published on the embedded log only",
            remedy="read the topics with Kafka's own tools, or leave --bootstrap-servers out",
        )
    if feed and settings.bootstrap_servers is not None:
        raise SettingsError(
            "--feed puts lines into the embedded log only",
            remedy="produce to Kafka with its own tools, or leave --bootstrap-servers out",
        )
    several = settings.workers > 1 or (len(names) > 1 and not settings.until_caught_up)
    stop = threading.Event()
    if settings.bootstrap_servers is None or not several:
        from processor.cli import work

        with signals(stop):
            work.run_here(names, settings, feed, stop, show=show)
        return
    from processor.cli import supervise

    with signals(stop), supervise.embedded_redis(settings) as given:
        supervise.run(names, given, stop)


@contextmanager
def signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT ask for an orderly end."""

    def asked(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {n: signal.signal(n, asked) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
