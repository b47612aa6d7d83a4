"""``processor run`` with a fault inside: ``python -m tests.catalogue.seam run ...``.

``CATALOGUE_PAUSE_AT=after:flush#3``       the third time there, the process stops itself (SIGSTOP)
``CATALOGUE_SLOW_AT=before:process#3=8``   the third time there, it takes 8 s longer
``CATALOGUE_CLOCK=3600``                   its wall clock is so many seconds ahead; ``back``: each
                                           time it is read, it is a minute earlier
"""

from __future__ import annotations

import itertools
import os
import signal
import time

from processor.__main__ import main
from processor.app import worker


def _nth(wanted, then):
    """A probe that calls ``then`` when the step has come so many times."""
    step, _, count = wanted.partition("#")
    times = itertools.count(1)
    return lambda at: then() if at == step and next(times) == int(count or 1) else None


def _faults():
    if paused := os.environ.get("CATALOGUE_PAUSE_AT"):
        yield _nth(paused, lambda: os.kill(os.getpid(), signal.SIGSTOP))
    if slow := os.environ.get("CATALOGUE_SLOW_AT"):
        step, _, seconds = slow.partition("=")
        yield _nth(step, lambda: time.sleep(float(seconds)))


def _shift(clock):
    right = time.time_ns
    minutes = itertools.count(1)

    def wrong():
        ahead_s = -60 * next(minutes) if clock == "back" else int(clock)
        return right() + ahead_s * 1_000_000_000

    time.time_ns = wrong
    time.time = lambda: wrong() / 1e9


def _plant():
    faults, crash = list(_faults()), worker.crash_probe

    def make(of=""):
        probes = [crash(of), *faults]

        def probe(step):
            for each in probes:
                each(step)

        return probe

    worker.crash_probe = make
    if clock := os.environ.get("CATALOGUE_CLOCK"):
        _shift(clock)


if __name__ == "__main__":
    _plant()
    main()
