"""What a store promises."""

from __future__ import annotations

import pytest
import redis

from processor.connectors.ports import Blob, Former, Owner, Staged, Store
from processor.connectors.redis.store import RedisStore
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
    assert store.stage({task: [Blob("d:2:a", b"2", 2, ("d:1:a",))]})[task].linked
    assert not store.stage({task: [Blob("d:4:a", b"4", 4, ("d:3:a",))]})[task].linked
    assert not store.stage({task: [Blob("d:4:a", b"4", 4, ("d:1:a", "d:3:a"))]})[task].linked
    store.acquire({task: owner("one", 1)})
    store.delete(task, ["d:1:a"], owner("one", 1))
    assert not store.stage({task: [Blob("d:2:b", b"2", 2, ("d:1:a",))]})[task].linked


def test_staging_writes_even_where_the_parent_is_missing(store: Store, task: str):
    store.stage({task: [Blob("d:2:a", b"2", 2, ("d:1:a",))]})
    assert store.load(task, ["d:2:a"]) == [b"2"]


def test_staging_tells_who_owns_each_task(store: Store, task: str):
    other = f"{task}1"
    store.acquire({task: owner("one", 3)})
    staged = store.stage({task: [Blob("d:1:a", b"1", 1)], other: [Blob("d:1:b", b"2", 1)]})
    assert staged[task].owner == owner("one", 3)
    assert staged[other].owner is None
    # Also where it is asked for parents beside that.
    child = Blob("d:2:a", b"3", 2, ("d:1:a",))
    staged = store.stage({task: [child], other: [child]})
    assert staged == {task: Staged(owner("one", 3), linked=True), other: Staged(None, linked=False)}
    assert store.load(other, ["d:1:b", "d:1:a"]) == [b"2", None]


def test_the_index_has_all_blobs_with_their_epochs(store: Store, task: str):
    store.stage({task: [Blob("d:1:a", b"1", 1), Blob("s:9:a:0", b"2", 9)]})
    store.stage({task: [Blob("d:1:orphan", b"3", 1)]})
    assert store.blobs(task) == {"d:1:a": 1, "s:9:a:0": 9, "d:1:orphan": 1}


def test_what_is_missing_is_told_by_task(store: Store, task: str):
    other, third = f"{task}1", f"{task}2"
    store.stage({task: [Blob("d:1:a", b"1", 1)], other: [Blob("d:1:b", b"2", 1)]})
    asked = {task: ["d:1:a", "d:2:a", "s:1:a"], other: ["d:1:b"], third: []}
    assert store.missing(asked) == {task: ["d:2:a", "s:1:a"]}
    assert store.missing({}) == {}


def test_what_is_deleted_is_gone_and_the_rest_stays(store: Store, task: str):
    store.stage({task: [Blob("d:1:a", b"1", 1), Blob("d:2:a", b"2", 2)]})
    store.acquire({task: owner("one", 1)})
    assert store.delete(task, ["d:1:a", "never"], owner("one", 1))
    assert store.delete(task, [], owner("one", 1))
    assert store.load(task, ["d:1:a", "d:2:a"]) == [None, b"2"]
    assert store.blobs(task) == {"d:2:a": 2}


@pytest.mark.parametrize("held", [None, ("two", 1), ("one", 2)])
def test_nothing_is_deleted_for_who_does_not_own_the_task(store: Store, task: str, held):
    store.stage({task: [Blob("d:1:a", b"1", 1)]})
    if held:
        store.acquire({task: owner(*held)})
    assert not store.delete(task, ["d:1:a"], owner("one", 1))
    assert not store.clear(task, owner("one", 1))
    assert store.load(task, ["d:1:a"]) == [b"1"]
    assert store.blobs(task) == {"d:1:a": 1}


def test_many_blobs_are_deleted(store: Store, task: str):
    keys = [f"d:{n}:a" for n in range(100)]
    store.stage({task: [Blob(key, b"1", n) for n, key in enumerate(keys)]})
    store.acquire({task: owner("one", 1)})
    assert store.delete(task, keys[1:], owner("one", 1))
    assert store.blobs(task) == {"d:0:a": 0}
    assert store.missing({task: keys}) == {task: keys[1:]}


def test_clear_leaves_nothing_of_the_task_and_all_of_others(store: Store, task: str):
    other = f"{task}0"
    for name in (task, other):
        store.acquire({name: owner("one", 1)})
        store.begin({name: 1})
        store.stage({name: [Blob("d:1:a", b"1", 1)]})
    assert store.clear(task, owner("one", 1))
    assert store.blobs(task) == store.reindex(task) == {}
    assert store.load(task, ["d:1:a"]) == [None]
    assert store.owners([task, other]) == {task: None, other: owner("one", 1)}
    assert store.load(other, ["d:1:a"]) == [b"1"]
    assert store.acquire({task: owner("two", 1)}) == {task: Former()}
    assert store.acquire({other: owner("two", 1)}) == {
        other: Former(owner("one", 1), begun=True, newest=1)
    }


def test_acquire_takes_the_task_and_tells_who_had_it(store: Store, task: str):
    assert store.acquire({task: owner("one", 1)}) == {task: Former()}
    assert store.acquire({task: owner("two", 2)}) == {task: Former(owner("one", 1))}
    assert store.owners([task, f"{task}1"]) == {task: owner("two", 2), f"{task}1": None}


def test_nobody_is_refused_whatever_his_generation(store: Store, task: str):
    store.acquire({task: owner("one", 5)})
    assert store.acquire({task: owner("two", 1)}) == {task: Former(owner("one", 5))}
    assert store.owners([task]) == {task: owner("two", 1)}


def test_that_a_task_has_begun_is_remembered(store: Store, task: str):
    other = f"{task}1"
    store.begin({task: 1})
    store.begin({})
    found = store.acquire({task: owner("one", 1), other: owner("one", 1)})
    assert found == {task: Former(None, begun=True, newest=1), other: Former()}


def test_the_last_position_that_was_noted_is_the_newest(store: Store, task: str):
    for newest in (5, 12_345_678_901, 7):
        store.begin({task: newest})
        found = store.acquire({task: owner("one", 1)})
        assert (found[task].begun, found[task].newest) == (True, newest)


def test_blobs_are_found_without_the_index(store: Store, task: str):
    """Glob characters in a name are no pattern."""
    odd = f"{task}[a-z]*?"
    other = f"{task}b"
    for name in (odd, other):
        store.acquire({name: owner("one", 1)})
        store.begin({name: 1})
        store.stage({name: [Blob("d:3:a", b"1", 3), Blob("s:2:b:0", b"2", 2)]})
    assert store.reindex(odd) == store.blobs(odd) == {"d:3:a": 3, "s:2:b:0": 2}


def test_a_store_that_is_up_answers(store: Store):
    store.ping()


@pytest.mark.redis
def test_what_others_put_into_the_index_or_under_the_tasks_prefix_harms_nothing(
    redis_server, task: str
):
    store = RedisStore(redis_server.url)
    store.stage({task: [Blob("d:1:a", b"x", 1, ())]})
    with redis.Redis.from_url(redis_server.url) as client:
        (index,) = (key for key in client.scan_iter(f"*{task}*") if client.type(key) == b"zset")
        client.zadd(index, {b"\xff\xfe": 3, "d:9:b": float("inf"), "d:8:c": float("-inf")})
        client.set(f"{{{task}}}:".encode() + b"\xff", b"of another")
    assert store.blobs(task) == {"d:1:a": 1}
    assert store.reindex(task) == {"d:1:a": 1}
    store.close()
