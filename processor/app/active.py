"""The queries of this process that have not ended: no two alike, and none outlives the interpreter.

Workers are threads that Python does not wait for. So that they stop in order, they are stopped
before the interpreter lets go of thread pools, which `atexit` is too late for.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from processor.errors import ProcessorError, SettingsError

if TYPE_CHECKING:
    from processor.app.query import Query


class _Active:
    """Who runs, and whether the interpreter has been asked to wait for them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queries: list[Query] = []
        self.registered = False
        self.leaving = False
        # A fork of a process that has run queries: the column engine's threads are not there.
        self.spoilt = False


_here = _Active()


def active() -> tuple[Query, ...]:
    """The queries of this process that have not ended, in the order in which they were started.

    >>> active()
    ()
    """
    with _here.lock:
        return tuple(_here.queries)


def check_fork() -> None:
    """Raise `SettingsError` in a fork of a process that has run queries: a plan would hang."""
    if _here.spoilt:
        raise SettingsError(
            "nothing can be started in a fork of a process that has run queries",
            remedy='start processes with spawn: multiprocessing.get_context("spawn")',
        )


def enter(query: Query) -> None:
    """Note a query that is about to start.

    Raises `SettingsError` where another one of its applications is at work in the same place, or
    the interpreter ends.
    """
    with _here.lock:
        if _here.leaving:
            raise SettingsError(
                f"{query.name} cannot be started: the interpreter ends",
                remedy="start queries before the end of the main thread",
            )
        for other in _here.queries:
            twice = sorted(query._places & other._places)  # noqa: SLF001 - as below
            if twice:
                raise SettingsError(
                    f"{twice[0][0]} is already at work in this process",
                    remedy="stop it first: query.stop(), or of all that run `for query in "
                    "processor.active(): query.stop()`; for more workers say workers=2",
                )
        if not _here.registered:
            _before_pools(_stop_all)
            _here.registered = True
        _here.queries.append(query)


def leave(query: Query) -> None:
    """A query has ended."""
    with _here.lock:
        _here.queries = [one for one in _here.queries if one is not query]


def _before_pools(call: Callable[[], None]) -> None:
    """Have it called when the main thread has ended, before thread pools are shut.

    These use the same hook of `threading`, and the last one in is the first one called.
    """
    importlib.import_module("concurrent.futures.thread")  # its own call comes in before
    register = getattr(threading, "_register_atexit", atexit.register)
    register(call)


def _stop_all() -> None:
    """Stop what still runs, in order; each has its own time for it."""
    with _here.lock:
        _here.leaving = True
        left = list(_here.queries)
    for query in left:
        query._ask()  # noqa: SLF001 - this module is a part of a query
    for query in left:
        with contextlib.suppress(ProcessorError):  # the query's end is in the log
            query.stop()


def _forked() -> None:
    """No thread has come along: nothing runs in the child."""
    global _here  # noqa: PLW0603 - the lock may be held by a thread that is not there
    spoilt = _here.registered or _here.spoilt
    _here = _Active()
    _here.spoilt = spoilt


os.register_at_fork(after_in_child=_forked)
