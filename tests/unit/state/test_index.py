from __future__ import annotations

import numpy as np
import pytest

from processor.state import index as module
from processor.state.index import Index, hash_words


def words(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64).reshape(-1, 1)


def slots(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@pytest.fixture(params=["mixed", "all the same"], autouse=True)
def hashing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "mixed":
        monkeypatch.setattr(module, "hash_words", lambda w: np.full(len(w), 61, np.uint64))


def test_an_empty_index_finds_nothing() -> None:
    assert Index().find(words(1, 2), words()).tolist() == [-1, -1]
    assert Index().find(words(), words()).tolist() == []


def test_what_was_entered_is_found_and_nothing_else() -> None:
    stored = words(*range(30))
    index = Index()
    index.insert(stored, slots(*range(30)))
    assert index.find(words(29, 0, 30, 7), stored).tolist() == [29, 0, -1, 7]


def test_what_was_removed_is_not_found_and_the_others_still_are() -> None:
    stored = words(*range(30))
    index = Index()
    index.insert(stored, slots(*range(30)))
    index.remove(stored[::2], slots(*range(0, 30, 2)))
    found = index.find(stored, stored).tolist()
    assert found == [-1 if i % 2 == 0 else i for i in range(30)]


def test_a_removed_key_can_be_entered_again() -> None:
    stored = words(5, 6, 5)
    index = Index()
    index.insert(stored[:2], slots(0, 1))
    index.remove(stored[:1], slots(0))
    index.insert(stored[2:], slots(2))
    assert index.find(words(5, 6), stored).tolist() == [2, 1]


def test_it_says_when_it_must_grow_and_grows() -> None:
    index = Index()
    assert not index.needs_room(38)
    assert index.needs_room(39)
    with pytest.raises(IndexError, match="must be grown"):
        index.insert(words(*range(39)), slots(*range(39)))
    before = index.memory_bytes()
    stored = words(*range(300))
    index.rebuild(stored, slots(*range(200)), 100)
    assert index.memory_bytes() > before
    assert not index.needs_room(100)
    index.insert(stored[200:], slots(*range(200, 300)))
    assert index.find(stored, stored).tolist() == list(range(300))


def test_after_a_rebuild_it_knows_to_the_key_how_many_more_it_holds() -> None:
    stored = words(*range(39))
    index = Index()
    index.rebuild(stored, slots(*range(30)), 8)
    assert not index.needs_room(8)
    assert index.needs_room(9)
    index.insert(stored[30:38], slots(*range(30, 38)))
    with pytest.raises(IndexError, match="must be grown"):
        index.insert(stored[38:], slots(38))


def test_coming_and_going_never_fills_it_with_graves() -> None:
    index = Index()
    for round_ in range(50):
        stored = words(*range(round_ * 20, round_ * 20 + 20))
        if index.needs_room(20):
            index.rebuild(stored, slots(), 20)
        index.insert(stored, slots(*range(20)))
        assert index.find(stored, stored).tolist() == list(range(20))
        index.remove(stored, slots(*range(20)))
    assert index.memory_bytes() == 256


def test_rows_that_differ_in_one_word_hash_apart() -> None:
    rows = np.array([[i, j] for i in range(50) for j in range(50)], np.uint64)
    assert len(set(hash_words(rows).tolist())) == 2500


def test_the_hash_of_a_word_is_as_splitmix64_is_published() -> None:
    """The first two numbers from the seed 0, and what the state 0 gives."""
    gamma = 0x9E3779B97F4A7C15
    states = (gamma, 2 * gamma % 2**64, 0)
    rows = np.array([[gamma ^ state] for state in states], np.uint64)
    assert hash_words(rows).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0]
