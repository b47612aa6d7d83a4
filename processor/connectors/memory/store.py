"""A checkpoint store in memory."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from processor.connectors.ports import Blob, Former, Owner, Staged
from processor.errors import StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class MemoryStore:
    """Blobs in a dictionary; implements `processor.connectors.ports.Store`.

    ``down`` makes every call fail; `lose`, `drop` and `drop_index` forget, `damage` changes one
    blob's bytes, `disown` the owner's record.

    >>> store = MemoryStore(); _ = store.stage({"app/rides/0": [Blob("d:1:a", b"x", 1)]})
    >>> store.load("app/rides/0", ["d:1:a", "d:2:b"])
    [b'x', None]
    """

    def __init__(self) -> None:
        self.down = False
        self._lock = Lock()
        self._blobs: dict[str, dict[str, Blob]] = {}
        self._unindexed: dict[str, set[str]] = {}
        self._owners: dict[str, Owner] = {}
        self._begun: dict[str, int] = {}

    def acquire(self, owners: Mapping[str, Owner]) -> dict[str, Former]:
        """Take tasks; returns what was known of each before."""
        with self._lock:
            self._check()
            begun = self._begun
            before = {t: Former(self._owners.get(t), t in begun, begun.get(t, 0)) for t in owners}
            self._owners.update(owners)
            return before

    def owners(self, tasks: Sequence[str]) -> dict[str, Owner | None]:
        """Who has the tasks."""
        with self._lock:
            self._check()
            return {task: self._owners.get(task) for task in tasks}

    def begin(self, tasks: Mapping[str, int]) -> None:
        """Note positions of these tasks that the group has committed."""
        with self._lock:
            self._check()
            self._begun |= tasks

    def stage(self, blobs: Mapping[str, Sequence[Blob]]) -> dict[str, Staged]:
        """Write each task's blobs; a parent may be among them."""
        with self._lock:
            self._check()
            return {task: self._stage(task, staged) for task, staged in blobs.items()}

    def _stage(self, task: str, blobs: Sequence[Blob]) -> Staged:
        kept = self._blobs.setdefault(task, {})
        kept.update({blob.key: blob for blob in blobs})
        self._unindexed.get(task, set()).difference_update(blob.key for blob in blobs)
        linked = all(parent in kept for blob in blobs for parent in blob.parents)
        return Staged(self._owners.get(task), linked)

    def load(self, task: str, keys: Sequence[str]) -> list[bytes | None]:
        """The blobs' bytes, ``None`` for one that is not there."""
        with self._lock:
            self._check()
            kept = self._blobs.get(task, {})
            return [kept[key].data if key in kept else None for key in keys]

    def missing(self, keys: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """Those of each task's keys that are not there, for the tasks that miss any."""
        with self._lock:
            self._check()
            kept = self._blobs
            gone = {t: [k for k in asked if k not in kept.get(t, {})] for t, asked in keys.items()}
            return {task: lost for task, lost in gone.items() if lost}

    def blobs(self, task: str) -> dict[str, int]:
        """The keys of the task's blobs with their epochs, as far as the index has them."""
        with self._lock:
            self._check()
            hidden = self._unindexed.get(task, set())
            kept = self._blobs.get(task, {})
            return {key: blob.epoch for key, blob in kept.items() if key not in hidden}

    def reindex(self, task: str) -> dict[str, int]:
        """The same, found without the index."""
        with self._lock:
            self._check()
            self._unindexed.pop(task, None)
        return self.blobs(task)

    def delete(self, task: str, keys: Collection[str], owner: Owner) -> bool:
        """Delete blobs if the task is ``owner``'s; those that are not there are passed over."""
        with self._lock:
            self._check()
            if self._owners.get(task) != owner:
                return False
            for key in keys:
                self._blobs.get(task, {}).pop(key, None)
            return True

    def clear(self, task: str, owner: Owner) -> bool:
        """Delete all that the store has of a task, if it is ``owner``'s."""
        done = self.delete(task, self.reindex(task), owner)
        if done:
            self._owners.pop(task, None)
            self._begun.pop(task, None)
        return done

    def ping(self) -> None:
        """Raise `StoreAwayError` when the store is ``down``."""
        with self._lock:
            self._check()

    def close(self) -> None:
        """Nothing to let go of; the blobs stay."""

    def lose(self) -> None:
        """Forget everything, as a store does that restarts without its disk."""
        with self._lock:
            self._blobs.clear()
            self._owners.clear()
            self._begun.clear()

    def drop(self, task: str, keys: Collection[str]) -> None:
        """Lose some of a task's blobs."""
        with self._lock:
            for key in keys:
                self._blobs.get(task, {}).pop(key, None)

    def drop_index(self, task: str) -> None:
        """Lose the index of a task, and keep its blobs."""
        with self._lock:
            self._unindexed[task] = set(self._blobs.get(task, {}))

    def disown(self, task: str, owner: Owner | None) -> None:
        """Write anything into the owner's record; ``None`` deletes it."""
        with self._lock:
            if owner is None:
                self._owners.pop(task, None)
            else:
                self._owners[task] = owner

    def damage(self, task: str, key: str) -> None:
        """Flip a bit in the middle of a blob."""
        with self._lock:
            blob = self._blobs[task][key]
            data = bytearray(blob.data)
            data[len(data) // 2] ^= 1
            self._blobs[task][key] = replace(blob, data=bytes(data))

    def _check(self) -> None:
        if self.down:
            raise StoreAwayError("the store is down", remedy="it is a test that took it down")
