"""What a store promises."""

from __future__ import annotations

import pytest

from processor.connectors.ports import Blob, Owner, Store
from processor.errors import FencedError
from tests.contract.drive import unique


@pytest.fixture
def task() -> str:
    return f"{unique('app')}/rides/0"


def owner(token: str, generation: int) -> Owner:
    return Owner(token, f"app.{token}", generation)


def test_blobs_come_back_as_they_were_in_the_order_asked(store: Store, task: str):
    data = bytes(range(256)) * 4
    store.stage({task: [Blob("d:1:a", data, 1), Blob("d:2:b", b"", 2)]})
    assert store.load(task, ["d:2:b", "none", "d:1:a"]) == [b"", None, data]


def test_nothing_is_loaded_for_no_keys(store: Store, task: str):
    assert store.load(task, []) == []
    assert store.blobs(task) == {}


def test_a_large_blob_comes_back(store: Store, task: str):
    data = b"\x00\xff" * 4_000_000
    store.stage({task: [Blob("s:1:a", data, 1)]})
    assert store.load(task, ["s:1:a"]) == [data]


def test_staging_tells_whether_the_parent_was_there(store: Store, task: str):
    assert store.stage({task: [Blob("d:1:a", b"1", 1)]})[task].linked
    assert store.stage({task: [Blob("d:2:a", b"2", 2, "d:1:a")]})[task].linked
    assert not store.stage({task: [Blob("d:4:a", b"4", 4, "d:3:a")]})[task].linked
    store.delete(task, ["d:1:a"])
    assert not store.stage({task: [Blob("d:2:b", b"2", 2, "d:1:a")]})[task].linked


def test_staging_writes_even_where_the_parent_is_missing(store: Store, task: str):
    store.stage({task: [Blob("d:2:a", b"2", 2, "d:1:a")]})
    assert store.load(task, ["d:2:a"]) == [b"2"]


def test_staging_tells_who_owns_each_task(store: Store, task: str):
    other = f"{task}1"
    store.acquire({task: owner("one", 3)})
    staged = store.stage({task: [Blob("d:1:a", b"1", 1)], other: [Blob("d:1:b", b"2", 1)]})
    assert staged[task].owner == owner("one", 3)
    assert staged[other].owner is None
    assert store.load(other, ["d:1:b", "d:1:a"]) == [b"2", None]


def test_the_index_has_all_blobs_with_their_epochs(store: Store, task: str):
    store.stage({task: [Blob("d:1:a", b"1", 1), Blob("s:9:a:0", b"2", 9)]})
    store.stage({task: [Blob("d:1:orphan", b"3", 1)]})
    assert store.blobs(task) == {"d:1:a": 1, "s:9:a:0": 9, "d:1:orphan": 1}


def test_what_is_deleted_is_gone_and_the_rest_stays(store: Store, task: str):
    store.stage({task: [Blob("d:1:a", b"1", 1), Blob("d:2:a", b"2", 2)]})
    store.delete(task, ["d:1:a", "never"])
    store.delete(task, [])
    assert store.load(task, ["d:1:a", "d:2:a"]) == [None, b"2"]
    assert store.blobs(task) == {"d:2:a": 2}


def test_clear_leaves_nothing_of_the_task_and_all_of_others(store: Store, task: str):
    other = f"{task}0"
    for name in (task, other):
        store.acquire({name: owner("one", 1)})
        store.stage({name: [Blob("d:1:a", b"1", 1)]})
    store.clear(task)
    assert store.blobs(task) == {}
    assert store.load(task, ["d:1:a"]) == [None]
    assert store.owners([task, other]) == {task: None, other: owner("one", 1)}
    assert store.load(other, ["d:1:a"]) == [b"1"]


def test_acquire_takes_the_task_and_tells_who_had_it(store: Store, task: str):
    assert store.acquire({task: owner("one", 1)}) == {task: None}
    assert store.acquire({task: owner("two", 2)}) == {task: owner("one", 1)}
    assert store.owners([task, f"{task}1"]) == {task: owner("two", 2), f"{task}1": None}


def test_acquire_refuses_who_comes_from_an_older_generation(store: Store, task: str):
    store.acquire({task: owner("one", 5)})
    with pytest.raises(FencedError):
        store.acquire({task: owner("two", 4)})
    assert store.owners([task]) == {task: owner("one", 5)}
    store.acquire({task: owner("two", 5)})
    assert store.owners([task]) == {task: owner("two", 5)}


def test_the_same_owner_may_come_back_under_any_generation(store: Store, task: str):
    store.acquire({task: owner("one", 5)})
    store.acquire({task: owner("one", 1)})
    assert store.owners([task]) == {task: owner("one", 1)}


def test_a_store_that_is_up_answers(store: Store):
    store.ping()
