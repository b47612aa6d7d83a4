from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from processor.errors import StateLostError
from processor.model.manifest import Manifest
from processor.state import chain, codec
from processor.state.cells import Cell
from processor.state.slab import Slab

if TYPE_CHECKING:
    from collections.abc import Sequence


class Task:
    """A task that has committed some batches; its blobs lie in a dictionary."""

    def __init__(self, batches: int, *, snapshot_at: int = 0) -> None:
        self.blobs: dict[str, bytes] = {}
        self.slab = self.new()
        self.digest = self.snapshot = parent = parent_digest = ""
        for epoch in range(1, batches + 1):
            keys = pl.DataFrame({"n": [epoch, 0]})
            self.slab.fold(keys, {"count": np.array([1, 1])})
            rows = self.slab.changed()
            header = codec.Header(epoch, "aa", parent, parent_digest, 0, 0)
            data = codec.encode(header, {"op": rows})
            parent, parent_digest = chain.delta_key(epoch, "aa"), codec.digest(data)
            self.blobs[parent] = data
            self.slab.commit(rows)
            if epoch == snapshot_at:
                blobs = dict(chain.encode_snapshot(header, {"op": self.slab.all()}))
                self.blobs |= blobs
                key = list(blobs)[-1]
                self.snapshot = chain.snapshot_name(key, codec.digest(blobs[key]))
        self.manifest = Manifest(
            batches, "aa", parent_digest, self.snapshot, None, "f00d", 1, "app.0"
        )

    @staticmethod
    def new() -> Slab:
        return Slab({"n": pl.Int64()}, [Cell("count", "<i8", "add")])

    def load(self, manifest: Manifest | None = None) -> chain.Loaded:
        def loader(keys: Sequence[str]) -> list[bytes | None]:
            return [self.blobs.get(key) for key in keys]

        return chain.load("in[0]", manifest or self.manifest, loader)

    def restored(self) -> dict[int, int]:
        slab = self.new()
        for state in self.load().states:
            slab.restore(state["op"])
        slots = slab.live()
        return dict(zip(slab.keys(slots)["n"], slab.gather("count", slots).tolist(), strict=True))


@pytest.mark.parametrize(("batches", "snapshot_at"), [(1, 0), (5, 0), (5, 3), (5, 5), (5, 1)])
def test_the_chain_restores_what_was_committed(batches: int, snapshot_at: int) -> None:
    task = Task(batches, snapshot_at=snapshot_at)
    assert task.restored() == {**dict.fromkeys(range(1, batches + 1), 1), 0: batches}


def test_a_task_without_state_has_no_chain() -> None:
    loaded = Task(1).load(Manifest(3, "aa", "", "", None, "stateless", 1, "app.0"))
    assert (loaded.states, loaded.link) == ((), chain.Link())


def test_the_link_tells_what_the_chain_costs() -> None:
    task = Task(5, snapshot_at=2)
    link = task.load().link
    assert (link.key, link.digest) == ("d:5:aa", task.manifest.digest)
    assert link.chain_length == 3
    assert link.chain_bytes == sum(len(task.blobs[f"d:{i}:aa"]) for i in (3, 4, 5))
    assert link.snapshot == task.snapshot
    assert link.snapshot_bytes > 0
    assert link.rests_on() == ("s:2:aa", "s:2:aa:0", "d:3:aa", "d:4:aa", "d:5:aa")
    assert link.parents() == ("d:5:aa", "s:2:aa")


def test_what_is_not_reachable_is_not_read() -> None:
    task = Task(5, snapshot_at=3)
    needed = {key for key in task.blobs if chain.reachable(key, task.snapshot)}
    assert needed == {"d:4:aa", "d:5:aa", "s:3:aa", "s:3:aa:0"}
    task.blobs = {key: task.blobs[key] for key in needed}
    assert task.restored()[0] == 5
    assert chain.reachable("d:1:xx", "")


def test_what_a_later_manifest_may_need_is_reachable() -> None:
    assert chain.reachable("s:7:bb:0", "5:aa:cafe")
    assert chain.reachable("d:6:bb", "5:aa:cafe")
    assert not chain.reachable("s:5:bb", "5:aa:cafe")


@pytest.mark.parametrize("key", ["d:5:aa", "d:4:aa", "s:3:aa", "s:3:aa:0"])
def test_a_blob_that_is_missing_or_altered_is_named(key: str) -> None:
    task = Task(5, snapshot_at=3)
    data = task.blobs.pop(key)
    with pytest.raises(StateLostError, match=f"checkpoint {key} of task .* is missing"):
        task.load()
    task.blobs[key] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(StateLostError, match=f"checkpoint {key} of task .* was altered"):
        task.load()


def test_a_large_delta_has_pieces_that_are_verified_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CHUNK_BYTES_MAX", 64)
    slab = Task.new()
    slab.fold(pl.DataFrame({"n": range(30)}), {"count": np.arange(30)})
    header = codec.Header(1, "aa", "", "", 0, 30)
    key, digest, blobs = chain.encode_delta(header, {"op": slab.changed()})
    assert list(blobs)[-1] == key == "d:1:aa"
    assert len(blobs) == 9
    manifest = Manifest(1, "aa", digest, "", None, "f00d", 1, "app.0")

    def load() -> chain.Loaded:
        return chain.load("in[0]", manifest, lambda keys: [blobs.get(key) for key in keys])

    restored = Task.new()
    for state in load().states:
        for rows in state.values():
            restored.restore(rows)
    assert sorted(map(str, restored.dump())) == sorted(map(str, slab.dump()))
    assert sorted(load().link.deltas) == sorted(blobs)
    assert load().link.chain_bytes == sum(map(len, blobs.values()))
    assert load().link.chain_length == 1
    blobs["d:1:aa:3"] += b"x"
    with pytest.raises(StateLostError, match=r"checkpoint d:1:aa:3 of task .* was altered"):
        load()


def test_a_large_snapshot_has_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CHUNK_BYTES_MAX", 32)
    task = Task(9, snapshot_at=9)
    assert sum(key.startswith("s:9:aa:") for key in task.blobs) == 5
    assert task.restored() == {**dict.fromkeys(range(1, 10), 1), 0: 9}


def test_a_chain_is_loaded_one_blob_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CHUNK_BYTES_MAX", 32)
    task = Task(9, snapshot_at=7)
    asked: list[str] = []

    def loader(keys: Sequence[str]) -> list[bytes | None]:
        asked.extend(keys)
        return [task.blobs[key] for key in keys]

    states = chain.walk("in[0]", task.manifest, loader).states()
    asked.clear()
    seen = []
    for _ in states:
        seen.append(asked[-1])
        assert len([key for key in asked if key != "s:7:aa"]) == len(seen)
    assert seen == [*(f"s:7:aa:{n}" for n in range(4)), "d:8:aa", "d:9:aa"]


class Past(Task):
    """A task whose trail names some of its deltas; ``tells`` is what their journals hold."""

    def __init__(self, tells: dict[str, object], *, snapshot_at: int) -> None:
        self.blobs: dict[str, bytes] = {}
        self.slab = self.new()
        self.snapshot = parent = parent_digest = ""
        trail: list[str] = []
        for epoch in range(1, 7):
            self.slab.fold(pl.DataFrame({"n": [epoch]}), {"count": np.array([1])})
            rows = self.slab.changed()
            header = codec.Header(epoch, "aa", parent, parent_digest, 0, 10 * epoch, {**tells})
            if "snapshot" in tells:
                header.journal["snapshot"] = self.snapshot
            data = codec.encode(header, {"op": rows})
            parent, parent_digest = chain.delta_key(epoch, "aa"), codec.digest(data)
            self.blobs[parent] = data
            self.slab.commit(rows)
            if epoch in (2, 5):
                trail.insert(0, f"{epoch}:aa:{parent_digest}")
            if epoch == snapshot_at:
                whole = codec.Header(epoch, "aa", "", "", 0, 10 * epoch, {**tells})
                blobs = dict(chain.encode_snapshot(whole, {"op": self.slab.all()}))
                self.blobs |= blobs
                key = list(blobs)[-1]
                self.snapshot = chain.snapshot_name(key, codec.digest(blobs[key]))
        self.manifest = Manifest(
            6, "aa", parent_digest, self.snapshot, None, "f00d", 1, "app.0", 0, tuple(trail)
        )

    def offsets(self) -> list[int]:
        found = chain.ancestors("in[0]", self.manifest, lambda keys: [*map(self.blobs.get, keys)])
        return [ancestor.offset for ancestor in found]


def test_earlier_states_come_newest_first_the_snapshot_among_them() -> None:
    assert Past({"event_time_max": 7, "snapshot": ""}, snapshot_at=3).offsets() == [50, 30, 20]


def test_an_earlier_state_that_does_not_tell_what_it_is_is_passed_over() -> None:
    """Deltas and snapshots of earlier versions: what they rest on, or where they stand, is lost."""
    assert Past({"event_time_max": 7}, snapshot_at=3).offsets() == [30]
    assert Past({}, snapshot_at=3).offsets() == []


def test_a_snapshot_that_is_missing_is_named_before_any_state_is_given() -> None:
    task = Task(5, snapshot_at=3)
    del task.blobs["s:3:aa"]
    with pytest.raises(StateLostError, match=r"s:3:aa of task .* is missing"):
        chain.walk("in[0]", task.manifest, lambda keys: [*map(task.blobs.get, keys)])


def test_a_snapshot_holds_the_delta_of_its_own_epoch() -> None:
    assert chain.behind(["d:4:aa", "d:5:aa", "d:6:aa"], "5:aa:cafe") == ("d:6:aa",)
