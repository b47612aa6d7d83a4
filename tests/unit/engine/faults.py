"""A log whose producers and consumers fail where a test says so."""

from collections.abc import Callable
from typing import Any

from processor.connectors.memory.log import MemoryLog

Fault = Callable[[], None]


class FaultyLog(MemoryLog):
    """``plan[call]`` is a list of faults for the next calls: before it, or ``after`` it."""

    def __init__(self, clock: Any = None) -> None:
        super().__init__(clock)
        self.before: dict[str, list[Exception | None]] = {}
        self.after: dict[str, list[Exception | None]] = {}

    def producer(self, transactional_id: str | None) -> Any:
        return _Faulty(super().producer(transactional_id), self)

    def consumer(self, group: str, instance: str, topics: Any) -> Any:
        return _Faulty(super().consumer(group, instance, topics), self, prefix="consumer.")


class _Faulty:
    def __init__(self, inner: Any, log: FaultyLog, prefix: str = "") -> None:
        self._inner, self._log, self._prefix = inner, log, prefix

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        key = self._prefix + name

        def call(*args: Any, **kwargs: Any) -> Any:
            self._raise(self._log.before.get(key))
            result = attribute(*args, **kwargs)
            self._raise(self._log.after.get(key))
            return result

        return call if callable(attribute) else attribute

    @staticmethod
    def _raise(faults: list[Exception | None] | None) -> None:
        if faults:
            fault = faults.pop(0)
            if fault is not None:
                raise fault
