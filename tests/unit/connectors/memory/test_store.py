"""The store in memory: that it is down, and what its hooks for tests take away, exactly."""

from __future__ import annotations

import pytest

from processor.connectors.memory.store import MemoryStore
from processor.connectors.ports import Blob, Former, Owner, Staged
from processor.errors import StoreAwayError

ME, OTHER = Owner("me", "app.me", 1), Owner("other", "app.other", 2)


@pytest.fixture
def store() -> MemoryStore:
    """Two tasks of the same owner with a chain of two blobs each, both begun."""
    store = MemoryStore()
    for task in ("a", "b"):
        store.acquire({task: ME})
        store.begin({task: 1})
        store.stage({task: [Blob("d:1", b"one", 1), Blob("d:2", b"two!", 2, ("d:1",))]})
    return store


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.acquire({"a": OTHER}), lambda s: s.owners(["a"]), lambda s: s.begin({"c": 1}),
        lambda s: s.stage({"a": [Blob("d:3", b"x", 3)]}), lambda s: s.load("a", ["d:1"]),
        lambda s: s.missing({"a": ["d:9"]}), lambda s: s.blobs("a"), lambda s: s.reindex("a"),
        lambda s: s.delete("a", ["d:1"], ME), lambda s: s.clear("a", ME), lambda s: s.ping(),
    ],
)  # fmt: skip
def test_while_it_is_down_every_call_fails_and_changes_nothing(store, ask):
    store.drop_index("a")
    store.down = True
    with pytest.raises(StoreAwayError, match="the store is down"):
        ask(store)
    store.down = False
    assert store.blobs("a") == {}
    assert store.reindex("a") == store.blobs("a") == {"d:1": 1, "d:2": 2}
    assert store.owners(["a", "c"]) == {"a": ME, "c": None}
    assert store.acquire({"c": ME}) == {"c": Former()}
    store.ping()


def test_staging_tells_the_owner_and_whether_every_parent_is_there(store):
    linked, unlinked = Blob("d:3", b"x", 3, ("d:1", "d:2")), Blob("d:4", b"x", 4, ("d:3", "d:9"))
    assert store.stage({"a": [linked], "c": [Blob("s:1", b"y", 1)], "d": []}) == {
        "a": Staged(ME, linked=True), "c": Staged(None, linked=True), "d": Staged(None, linked=True)
    }  # fmt: skip
    assert store.stage({"a": [unlinked]}) == {"a": Staged(ME, linked=False)}
    assert store.load("a", ["d:4", "d:9", "d:1"]) == [b"x", None, b"one"]
    assert store.missing({"a": ["d:9", "d:1", "d:8"], "b": ["d:1"], "e": ["d:1"], "f": []}) == {
        "a": ["d:9", "d:8"], "e": ["d:1"]
    }  # fmt: skip
    assert store.load("none", ["d:1"]) == [None]


def test_an_index_that_was_lost_has_what_came_after_it_and_all_when_made_anew(store):
    store.drop_index("a")
    store.drop_index("none")
    store.stage({"a": [Blob("d:3", b"x", 3), Blob("d:1", b"y", 1)]})
    assert store.blobs("a") == {"d:3": 3, "d:1": 1}
    assert store.blobs("b") == {"d:1": 1, "d:2": 2}
    assert store.reindex("a") == store.blobs("a") == {"d:1": 1, "d:2": 2, "d:3": 3}


def test_only_the_owner_deletes_and_clearing_forgets_the_task(store):
    assert not store.delete("a", ["d:1"], OTHER)
    assert not store.clear("a", OTHER)
    assert store.delete("none", ["d:1"], ME) is False
    assert store.load("a", ["d:1"]) == [b"one"]
    assert store.delete("a", ["d:1", "d:9"], ME) is True
    assert store.blobs("a") == {"d:2": 2}
    assert store.acquire({"a": ME}) == {"a": Former(ME, begun=True, newest=1)}
    store.drop_index("a")
    assert store.clear("a", ME) is True
    assert store.load("a", ["d:2"]) == [None]
    assert store.acquire({"a": ME, "b": OTHER}) == {
        "a": Former(),
        "b": Former(ME, begun=True, newest=1),
    }
    assert store.load("b", ["d:1"]) == [b"one"]


def test_what_is_lost_dropped_disowned_or_damaged_is_just_that(store):
    store.damage("a", "d:1")
    store.damage("a", "d:2")
    assert store.load("a", ["d:1", "d:2"]) == [b"ooe", b"twn!"]
    assert store.load("b", ["d:1", "d:2"]) == [b"one", b"two!"]
    assert store.blobs("a") == {"d:1": 1, "d:2": 2}
    store.drop("a", ["d:1", "d:9"])
    store.drop("none", ["d:1"])
    assert (store.blobs("a"), store.blobs("b")) == ({"d:2": 2}, {"d:1": 1, "d:2": 2})
    store.disown("a", None)
    store.disown("none", None)
    store.disown("b", OTHER)
    assert store.owners(["a", "b"]) == {"a": None, "b": OTHER}
    store.lose()
    assert store.load("b", ["d:1"]) == [None]
    assert store.acquire({"b": ME}) == {"b": Former()}
    store.close()
    store.ping()
