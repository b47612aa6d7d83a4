"""A log and a store that fail where a test says so, and otherwise keep all their promises.

A fault stands *before* a call (it did nothing) or *after* it (it did everything, and the answer was
lost). A record can also be lost on its way, which only the flush tells. Between any two things that
are done to the store anything may happen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from processor.clock import Clock
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.store import MemoryStore
from processor.connectors.ports import Blob, Former, Owner, Staged
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


class SteppedStore(MemoryStore):
    """An in-memory store that tells of every step of its calls, before and after it.

    What real Redis does in one step is one step here; a call of several commands has as many. At a
    step the test may stop the caller, let others go on, or change what is stored.

    >>> steps = []; store = SteppedStore(steps.append)
    >>> _ = store.stage({"app/rides/0": [Blob("d:1:a", b"x", 1)]})
    >>> steps
    ['before:store-write', 'after:store-write', 'before:store-look', 'after:store-look']
    """

    STEPS: Final = tuple(
        f"{when}:store-{what}"
        for what in ("acquire", "begin", "write", "look", "load", "missing", "index", "delete")
        for when in ("before", "after")
    )

    def __init__(self, step: Callable[[str], None] = lambda _: None) -> None:
        super().__init__()
        self.step = step

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        self.step(f"before:store-{what}")
        yield
        self.step(f"after:store-{what}")

    def acquire(self, owners: Mapping[str, Owner]) -> dict[str, Former]:
        """Take tasks, one after the other."""
        found: dict[str, Former] = {}
        for task, owner in owners.items():
            with self._told("acquire"):
                found |= super().acquire({task: owner})
        return found

    def begin(self, tasks: Mapping[str, int]) -> None:
        """Note it of one task after the other."""
        for task, newest in tasks.items():
            with self._told("begin"):
                super().begin({task: newest})

    def stage(self, blobs: Mapping[str, Sequence[Blob]]) -> dict[str, Staged]:
        """Write one blob after the other, and then look at owners and parents."""
        for task, pieces in blobs.items():
            for blob in pieces:
                with self._told("write"):
                    super().stage({task: [blob]})
        found: dict[str, Staged] = {}
        for task, pieces in blobs.items():
            parents = {parent for blob in pieces for parent in blob.parents}
            with self._told("look"):
                owner = super().owners([task])[task]
                found[task] = Staged(owner, not super().missing({task: parents}))
        return found

    def load(self, task: str, keys: Sequence[str]) -> list[bytes | None]:
        """Read blobs."""
        with self._told("load"):
            return super().load(task, keys)

    def missing(self, keys: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """Look what is not there."""
        with self._told("missing"):
            return super().missing(keys)

    def blobs(self, task: str) -> dict[str, int]:
        """Look into the index."""
        with self._told("index"):
            return super().blobs(task)

    def delete(self, task: str, keys: Collection[str], owner: Owner) -> bool:
        """Delete one blob after the other, each only for the owner."""
        for key in keys:
            with self._told("delete"):
                if not super().delete(task, [key], owner):
                    return False
        return True
