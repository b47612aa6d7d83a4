from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from processor.errors import StateMismatchError
from processor.state import index
from processor.state.cells import Cell
from processor.state.slab import NUMBER_MAX, NUMBER_MIN, Slab

KEYS = {"s": pl.String(), "n": pl.Int64()}
CELLS = [Cell("sum", "<i8", "add"), Cell("low", "<f8", "min"), Cell("high", "<i8", "max")]


def fold(slab: Slab, rows: dict[tuple, int]) -> np.ndarray:
    numbers = np.array(list(rows.values()), np.int64)
    frame = pl.DataFrame(list(rows), schema=KEYS, orient="row")
    return slab.fold(frame, {"sum": numbers, "low": numbers.astype(float), "high": numbers})


def content(slab: Slab) -> dict[tuple, tuple]:
    slots = slab.live()
    values = zip(*(slab.gather(c.name, slots).tolist() for c in CELLS), strict=True)
    return dict(zip(slab.keys(slots).rows(), values, strict=True))


@pytest.fixture
def slab() -> Slab:
    return Slab(KEYS, CELLS)


def commit(slab: Slab) -> None:
    slab.commit(slab.changed())


def test_an_empty_slab_has_no_rows_and_takes_an_empty_batch(slab: Slab) -> None:
    assert fold(slab, {}).tolist() == []
    assert (slab.rows(), content(slab), len(slab.changed().words)) == (0, {}, 0)
    slab.rollback()
    commit(slab)
    slab.restore(slab.all())


def test_folding_adds_and_picks(slab: Slab) -> None:
    fold(slab, {("a", 1): 5, ("b", 1): 7})
    fold(slab, {("a", 1): -2, (None, None): 1})
    assert content(slab) == {
        ("a", 1): (3, -2.0, 5), ("b", 1): (7, 7.0, 7), (None, None): (1, 1.0, 1)
    }  # fmt: skip
    assert slab.rows() == 3


def test_nan_is_passed_over_by_smallest_and_largest() -> None:
    slab = Slab({"n": pl.Int64()}, [Cell("low", "<f8", "min")])
    frame = pl.DataFrame({"n": [1]})
    for value in (2.0, np.nan, 3.0):
        slots = slab.fold(frame, {"low": np.array([value])})
    assert slab.gather("low", slots).tolist() == [2.0]


def test_rollback_undoes_every_fold_since_the_commit(slab: Slab) -> None:
    fold(slab, {("a", 1): 5})
    commit(slab)
    before = content(slab)
    for _ in range(3):
        fold(slab, {("a", 1): 1, ("x" * 60, 2): 1, (None, 3): 9})
        slab.free(slab.live())
        slab.rollback()
        assert content(slab) == before
        assert slab.rows() == 1
    assert len(slab.changed().words) == 0


def test_what_is_done_again_gets_the_same_slots(slab: Slab) -> None:
    fold(slab, {("a", 1): 1, ("b", 1): 1, ("c", 1): 1})
    slab.free(np.array([2, 0], np.int32))
    commit(slab)
    more = {(f"k{i}", i): i for i in range(5)}
    first = fold(slab, more).tolist()
    slab.rollback()
    assert fold(slab, more).tolist() == first


def test_freed_keys_stay_until_the_commit_and_their_slots_are_used_again(slab: Slab) -> None:
    fold(slab, {("a", 1): 5, ("b", 1): 7})
    commit(slab)
    slab.free(slab.live()[:1])
    assert slab.rows() == 2
    changed = slab.changed()
    assert (len(changed.words), len(changed.gone)) == (0, 1)
    slab.commit(changed)
    assert content(slab) == {("b", 1): (7, 7.0, 7)}
    assert fold(slab, {("c", 1): 1}).tolist() == [0]
    assert content(slab) == {("b", 1): (7, 7.0, 7), ("c", 1): (1, 1.0, 1)}


def test_a_delta_has_the_changed_keys_only_with_absolute_values(slab: Slab) -> None:
    fold(slab, {("a", 1): 5, ("b", 1): 7})
    commit(slab)
    fold(slab, {("a", 1): 1})
    fold(slab, {("a", 1): 1})
    changed = slab.changed()
    assert len(changed.words) == 1
    assert changed.cells["sum"].tolist() == [7]


def test_growth_keeps_what_is_there(slab: Slab) -> None:
    for start in range(0, 5000, 500):
        fold(slab, {(f"key {i}", i): i for i in range(start, start + 500)})
    assert slab.rows() == 5000
    assert content(slab) == {(f"key {i}", i): (i, float(i), i) for i in range(5000)}
    assert slab.memory_bytes() > 5000 * 5 * 8


def test_keys_with_one_hash_stay_apart(slab: Slab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "hash_words", lambda w: np.full(len(w), 7, np.uint64))
    fold(slab, {("a", i): i for i in range(100)})
    commit(slab)
    slab.free(slab.live()[::2])
    commit(slab)
    fold(slab, {("a", i): 1 for i in range(100)})
    totals = {key: values[0] for key, values in content(slab).items()}
    assert totals == {("a", i): 1 + (i if i % 2 else 0) for i in range(100)}


def test_a_wider_key_leaves_the_narrow_ones_where_they_are(slab: Slab) -> None:
    fold(slab, {("a", 1): 1})
    fold(slab, {("b" * 40, 1): 1, ("c" * 100, 1): 1})
    fold(slab, {("a", None): 1, ("a", 1): 1})
    assert {key: v[0] for key, v in content(slab).items()} == {
        ("a", 1): 2, ("b" * 40, 1): 1, ("c" * 100, 1): 1, ("a", None): 1
    }  # fmt: skip


def test_deltas_of_growing_layouts_restore_in_order(slab: Slab) -> None:
    deltas = []
    for batch in (
        {("a", 1): 1, ("z", 9): 1},
        {("b" * 40, 1): 2},
        {("a", None): 3, ("q" * 99, 1): 4},
    ):
        fold(slab, batch)
        if len(deltas) == 1:
            slab.free(slab.live()[1:2])
        deltas.append(slab.changed())
        slab.commit(deltas[-1])
    other = Slab(KEYS, CELLS)
    for delta in deltas:
        other.restore(delta)
    assert content(other) == content(slab)
    assert ("z", 9) not in content(other)


def test_a_narrow_delta_restores_into_a_wide_slab(slab: Slab) -> None:
    fold(slab, {("a", 1): 1})
    narrow = slab.changed()
    other = Slab(KEYS, CELLS)
    fold(other, {("b" * 40, None): 2})
    other.restore(narrow)
    assert set(content(other)) == {("a", 1), ("b" * 40, None)}


def test_restoring_twice_does_no_harm(slab: Slab) -> None:
    fold(slab, {("a", 1): 5})
    slab.restore(slab.all())
    assert content(slab) == {("a", 1): (5, 5.0, 5)}


@pytest.mark.parametrize("dead", [1, 9])
def test_a_long_text_that_comes_again_after_a_snapshot_is_told_in_it_or_in_the_delta(
    slab: Slab, dead: int
) -> None:
    fold(slab, {(f"{n}" * 60, 1): 1 for n in range(dead + 1)})
    commit(slab)
    slab.free(slab.live()[:dead])
    commit(slab)
    slab.prune()
    snapshot = slab.all()
    # Where most are dead they go; few are let be, as it takes long to look for them.
    assert len(snapshot.texts) == (2 if dead == 1 else 1)
    fold(slab, {("0" * 60, 1): 3})
    delta = slab.changed()
    assert len(delta.texts) == (0 if dead == 1 else 1)
    other = Slab(KEYS, CELLS)
    other.restore(snapshot)
    other.restore(delta)
    assert content(other) == content(slab)


def test_long_texts_of_keys_survive_rollback_and_restart(slab: Slab) -> None:
    first, second, third = "a" * 60, "b" * 60, "c" * 60
    fold(slab, {(first, 1): 1})
    deltas = [slab.changed()]
    slab.commit(deltas[0])
    # A batch that was staged and did not happen: its checkpoint is nobody's, texts and all.
    fold(slab, {(second, 1): 2})
    assert list(slab.changed().texts.values()) == [second.encode()]
    slab.rollback()
    assert content(slab) == {(first, 1): (1, 1.0, 1)}
    fold(slab, {(second, 1): 3, (third, 1): 4})
    deltas.append(slab.changed())
    assert sorted(deltas[1].texts.values()) == [second.encode(), third.encode()]
    slab.commit(deltas[1])
    assert slab.changed().texts == {}
    again = Slab(KEYS, CELLS)
    for delta in deltas:
        again.restore(delta)
    assert content(again) == content(slab)
    # The same key is the same row, and a new one takes no number that is taken.
    fold(again, {(first, 1): 10, ("d" * 60, 1): 5})
    deltas.append(again.changed())
    assert list(deltas[2].texts.values()) == [b"d" * 60]
    assert deltas[2].texts.keys().isdisjoint(deltas[0].texts.keys() | deltas[1].texts.keys())
    assert {key[0][0]: values[0] for key, values in content(again).items()} == {
        "a": 11, "b": 3, "c": 4, "d": 5
    }  # fmt: skip
    once_more = Slab(KEYS, CELLS)
    for delta in deltas:
        once_more.restore(delta)
    assert content(once_more) == content(again)


def test_only_the_long_texts_that_a_checkpoint_holds_are_saved_by_it(slab: Slab) -> None:
    fold(slab, {("a" * 60, 1): 1})
    saved = slab.changed()
    fold(slab, {("b" * 60, 1): 1})
    slab.commit(saved)
    assert list(slab.changed().texts.values()) == [b"b" * 60]


def test_what_is_frozen_stays_as_it_was_whatever_comes_after(slab: Slab) -> None:
    long = "x" * 50
    slots = fold(slab, {("a", 1): 1, (long, 1): 2, ("c", 1): 3})
    commit(slab)
    slab.free(slots[2:])
    commit(slab)
    before = content(slab)
    frozen = slab.frozen()
    slab.free(fold(slab, {(long, 1): 5}))
    fold(slab, {("a", 1): 7, ("d", 1): 8, ("y" * 60, 1): 9})
    commit(slab)
    slab.prune()
    fold(slab, {("a key that is wider than any", 1): 1})
    restored = Slab(KEYS, CELLS)
    restored.restore(frozen())
    assert content(restored) == before


def test_what_is_freed_in_a_delta_is_gone_after_a_restart_whether_or_not_it_was_there(
    slab: Slab,
) -> None:
    slots = fold(slab, {("first", 1): 1, ("second", 1): 2})
    deltas = [slab.changed()]
    commit(slab)
    # The very first row, changed once more; and one that comes and goes within a batch.
    fold(slab, {("first", 1): 5})
    slab.free(slots[:1])
    slab.free(fold(slab, {("passing", 1): 3}))
    deltas.append(slab.changed())
    assert (len(deltas[1].words), len(deltas[1].gone)) == (0, 2)
    commit(slab)
    again = Slab(KEYS, CELLS)
    for delta in [*deltas, deltas[1]]:
        again.restore(delta)
    assert content(again) == content(slab) == {("second", 1): (2, 2.0, 2)}
    assert again.rows() == slab.rows() == 1


def test_what_was_restored_is_the_base_that_a_rollback_comes_back_to(slab: Slab) -> None:
    fold(slab, {("a", 1): 1, ("b" * 60, 1): 2})
    again = Slab(KEYS, CELLS)
    again.restore(slab.all())
    assert len(again.changed().words) == 0
    fold(again, {("a", 1): 5, ("c" * 60, 1): 3})
    assert len(again.changed().words) == 2
    again.rollback()
    assert content(again) == content(slab)


def test_state_of_other_columns_is_refused(slab: Slab) -> None:
    other = Slab(KEYS, [Cell("n", "<i8", "add")])
    with pytest.raises(StateMismatchError, match="has the columns"):
        other.restore(slab.all())


def test_key_numbers_are_those_of_the_column(slab: Slab) -> None:
    slots = fold(slab, {("a" * 30, -5): 1, ("b", 7): 1})
    assert slab.key_numbers("n", slots).tolist() == [-5, 7]
    fold(slab, {(None, 1): 1})
    assert slab.key_numbers("n", slots).tolist() == [-5, 7]
    with pytest.raises(KeyError):
        slab.key_numbers("x", slots)


def test_the_lower_bound_is_forgotten_by_whatever_may_bring_rows_back(slab: Slab) -> None:
    assert slab.low == NUMBER_MAX
    slab.rollback()
    assert slab.low == NUMBER_MIN
    slab.low = 5
    slab.restore(slab.all())
    assert slab.low == NUMBER_MIN


@pytest.mark.parametrize(
    ("cell", "identity"),
    [
        (Cell("x", "<i8", "add"), 0),
        (Cell("x", "<i8", "min"), 2**63 - 1),
        (Cell("x", "<i8", "max"), -(2**63)),
        (Cell("x", "<f8", "min"), np.inf),
        (Cell("x", "<f8", "max"), -np.inf),
    ],
)
def test_folding_into_the_identity_is_the_value(cell: Cell, identity: float) -> None:
    assert cell.identity() == identity


def test_a_checkpoint_without_what_tells_of_a_cell_has_none_where_folding_left_it_alone() -> None:
    former = Slab({"n": pl.Int64()}, [Cell("low", "<i8", "min")])
    former.fold(pl.DataFrame({"n": [1, 2]}), {"low": np.array([5, NUMBER_MAX])})
    now = Slab({"n": pl.Int64()}, [*former._cells, Cell("low.known", "|u1", "max", tells="low")])
    now.restore(former.all())
    assert now.gather("low.known", now.live()).tolist() == [1, 0]
    with pytest.raises(StateMismatchError):
        former.restore(now.all())
