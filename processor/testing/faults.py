"""A log and a store that fail where a test says so, and otherwise keep all their promises.

A fault stands *before* a call (it did nothing) or *after* it (it did everything, and the answer was
lost). A record can also be lost on its way, which only the flush tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from processor.clock import Clock
from processor.connectors.memory.log import MemoryLog
from processor.errors import AbortableError
from processor.model.log import Output, Polled


class FaultyLog(MemoryLog):
    """An in-memory log with faults in its clients.

    ``before`` and ``after`` have lists of errors for the next calls by name, ``consumer.commit``
    and the like for a consumer's; ``None`` lets one call pass. While ``losing`` is above zero, so
    many outputs lose their last record and the next flush is refused. While ``repeating`` is above
    zero, so many changes of the assignment are told twice.

    >>> log = FaultyLog(); log.before["commit"] = [AbortableError("refused")]
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.before: dict[str, list[Exception | None]] = {}
        self.after: dict[str, list[Exception | None]] = {}
        self.losing = 0
        self.repeating = 0

    def producer(self, transactional_id: str | None) -> Any:
        """A producer with faults."""
        return _Producer(super().producer(transactional_id), self)

    def consumer(self, group: str, instance: str, topics: Sequence[str]) -> Any:
        """A consumer with faults."""
        return _Consumer(super().consumer(group, instance, topics), self)

    def heal(self) -> None:
        """No more faults."""
        self.before.clear()
        self.after.clear()
        self.losing = self.repeating = 0


class _Client:
    prefix = ""

    def __init__(self, inner: Any, log: FaultyLog) -> None:
        self.inner = inner
        self._log = log

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.inner, name)
        if not callable(attribute):
            return attribute
        key = self.prefix + name

        def call(*args: Any, **kwargs: Any) -> Any:
            _strike(self._log.before, key)
            result = attribute(*args, **kwargs)
            _strike(self._log.after, key)
            return result

        return call


class _Producer(_Client):
    _lost = False

    def produce(self, output: Output) -> None:
        _strike(self._log.before, "produce")
        if self._log.losing and len(output):
            self._log.losing -= 1
            self._lost = True
            output = _without_last(output)
        self.inner.produce(output)
        _strike(self._log.after, "produce")

    def flush(self, timeout_s: float) -> None:
        _strike(self._log.before, "flush")
        self.inner.flush(timeout_s)
        lost, self._lost = self._lost, False
        if lost:
            raise AbortableError("a record was not delivered")
        _strike(self._log.after, "flush")


class _Consumer(_Client):
    prefix = "consumer."

    def poll(self, records_max: int, timeout_s: float) -> Polled:
        polled: Polled = self.inner.poll(records_max, timeout_s)
        if polled.changes and self._log.repeating:
            self._log.repeating -= 1
            return Polled(polled.messages, [*polled.changes, *polled.changes], polled.ends)
        return polled


def _strike(faults: Mapping[str, list[Exception | None]], key: str) -> None:
    waiting = faults.get(key)
    fault = waiting.pop(0) if waiting else None
    if fault is not None:
        raise fault


def _without_last(output: Output) -> Output:
    def cut(column: Sequence[Any] | None) -> Sequence[Any] | None:
        return None if column is None else column[:-1]

    return replace(
        output, values=output.values[:-1], keys=cut(output.keys), headers=cut(output.headers)
    )
