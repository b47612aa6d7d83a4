"""A checkpoint store in memory."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from processor.connectors.ports import Blob, Owner, Staged
from processor.errors import FencedError, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class MemoryStore:
    """Blobs in a dictionary; implements `processor.connectors.ports.Store`.

    ``down`` makes every call fail, `lose` forgets everything, `damage` changes one blob's bytes.

    >>> store = MemoryStore(); _ = store.stage({"app/rides/0": [Blob("d:1:a", b"x", 1)]})
    >>> store.load("app/rides/0", ["d:1:a", "d:2:b"])
    [b'x', None]
    """

    def __init__(self) -> None:
        self.down = False
        self._lock = Lock()
        self._blobs: dict[str, dict[str, Blob]] = {}
        self._owners: dict[str, Owner] = {}

    def acquire(self, owners: Mapping[str, Owner]) -> dict[str, Owner | None]:
        """Take tasks, all or none; returns who had each before."""
        with self._lock:
            self._check()
            before = {task: self._owners.get(task) for task in owners}
            for task, held in before.items():
                owner = owners[task]
                if held and held.token != owner.token and held.generation > owner.generation:
                    raise FencedError(
                        f"{task} is held by {held.transactional_id!r} of generation "
                        f"{held.generation}; this worker is of {owner.generation}"
                    )
            self._owners.update(owners)
            return before

    def owners(self, tasks: Sequence[str]) -> dict[str, Owner | None]:
        """Who has the tasks."""
        with self._lock:
            self._check()
            return {task: self._owners.get(task) for task in tasks}

    def stage(self, blobs: Mapping[str, Sequence[Blob]]) -> dict[str, Staged]:
        """Write each task's blobs; a parent may be among them."""
        with self._lock:
            self._check()
            return {task: self._stage(task, staged) for task, staged in blobs.items()}

    def _stage(self, task: str, blobs: Sequence[Blob]) -> Staged:
        kept = self._blobs.setdefault(task, {})
        kept.update({blob.key: blob for blob in blobs})
        linked = all(blob.parent is None or blob.parent in kept for blob in blobs)
        return Staged(self._owners.get(task), linked)

    def load(self, task: str, keys: Sequence[str]) -> list[bytes | None]:
        """The blobs' bytes, ``None`` for one that is not there."""
        with self._lock:
            self._check()
            kept = self._blobs.get(task, {})
            return [kept[key].data if key in kept else None for key in keys]

    def blobs(self, task: str) -> dict[str, int]:
        """The keys of the task's blobs with their epochs."""
        with self._lock:
            self._check()
            return {key: blob.epoch for key, blob in self._blobs.get(task, {}).items()}

    def delete(self, task: str, keys: Collection[str]) -> None:
        """Delete blobs; those that are not there are passed over."""
        with self._lock:
            self._check()
            kept = self._blobs.get(task, {})
            for key in keys:
                kept.pop(key, None)

    def clear(self, task: str) -> None:
        """Delete all that the store has of a task, its owner too."""
        with self._lock:
            self._check()
            self._blobs.pop(task, None)
            self._owners.pop(task, None)

    def ping(self) -> None:
        """Raise `StoreError` when the store is ``down``."""
        with self._lock:
            self._check()

    def close(self) -> None:
        """Nothing to let go of; the blobs stay."""

    def lose(self) -> None:
        """Forget everything, as a store does that restarts without its disk."""
        with self._lock:
            self._blobs.clear()
            self._owners.clear()

    def damage(self, task: str, key: str) -> None:
        """Flip a bit in the middle of a blob."""
        with self._lock:
            blob = self._blobs[task][key]
            data = bytearray(blob.data)
            data[len(data) // 2] ^= 1
            self._blobs[task][key] = Blob(blob.key, bytes(data), blob.epoch, blob.parent)

    def _check(self) -> None:
        if self.down:
            raise StoreError("the store is down", remedy="it is a test that took it down")
