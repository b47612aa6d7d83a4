"""A case of the fault catalogue, the list of them all, and the servers that a case breaks."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.integration.running import Bench
from tests.services import climb, kafka_rungs
from tests.services.cluster import LocalCluster
from tests.services.redis import LocalRedis

_NAMES = ("redis_cases", "away_cases", "pace_cases", "kafka_cases", "group_cases")
_NAMES += ("input_cases", "guard_cases", "standstill_cases")
MODULES = tuple(f"tests.catalogue.{name}" for name in _NAMES)


@dataclass(frozen=True)
class Case:
    """One fault: what is ``done``, the verdict ``expected`` in words, and how it is tried.

    ``run`` raises `AssertionError` when the verdict is another one, and may return what is to be
    told besides. The cases that are ``in_tests``
    run with the tests, all of them by ``python -m tests.catalogue``.
    """

    name: str
    done: str
    expected: str
    in_tests: bool
    run: Callable[[Servers], str | None]


_CASES: dict[str, Case] = {}


def case(name, *, done, expected, in_tests=False):
    """Puts a function into the catalogue."""

    def add(run):
        assert name not in _CASES, f"two cases are called {name}"
        _CASES[name] = Case(name, done, expected, in_tests, run)
        return run

    return add


def cases():
    """All cases, in the order in which they are written."""
    for module in MODULES:
        if importlib.util.find_spec(module):
            importlib.import_module(module)
    return list(_CASES.values())


class Servers:
    """What one case gets: ``kafka`` and ``redis`` are shared and must be left as they were found.

    A case that breaks a server starts its own. All that was started ends with the case.
    """

    def __init__(self, kafka, redis, directory):
        self.kafka, self.redis = kafka, redis
        self.directory = Path(directory)
        self._end = contextlib.ExitStack()

    def own_kafka(self):
        """A broker of the case's own; never one that somebody else runs."""
        server = climb(kafka_rungs()[1:])
        self._end.callback(server.close)
        return server

    def own_cluster(self):
        """Three brokers of the case's own."""
        cluster = LocalCluster()
        self._end.callback(cluster.close)
        return cluster

    def own_redis(self):
        """A Redis of the case's own: a process whose files, signals and settings are at hand."""
        server = LocalRedis()
        self._end.callback(server.close)
        return server

    def bench(self, *, kafka=None, redis=None):
        """Topics and runs of the case's own, by default on the shared servers."""
        directory = self.directory / uuid4().hex[:8]
        directory.mkdir()
        made = Bench(kafka or self.kafka, (redis or self.redis).url, directory)
        self._end.callback(made.close)
        return made

    def at_the_end(self, call):
        """Has ``call()`` made when the case is over, however it came out."""
        self._end.callback(call)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end.close()
