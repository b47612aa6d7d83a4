"""Records by column: what is placed where, and what goes with it."""

from __future__ import annotations

import pytest

from processor.connectors.memory.records import Columns, StoredMessage
from processor.connectors.partitioner import partition
from processor.errors import LogError
from processor.model.log import Output

KEYS = [b"a", None, b"b", b"abc", None]
VALUES = [b"0", b"1", None, b"3", b"4"]
HEADERS = [[("h", b"%d" % n)] for n in range(5)]


def test_keyed_records_are_placed_by_their_key_and_the_others_together_with_all_columns():
    placed = Columns(VALUES, KEYS, HEADERS, [10, 11, 12, 13, 14]).placed(3, 2)
    wanted: dict[int, list[int]] = {}
    for row, key in enumerate(KEYS):
        wanted.setdefault(2 if key is None else partition(key, 3), []).append(row)
    assert placed == [
        (number, Columns([VALUES[r] for r in rows], [KEYS[r] for r in rows],
                         [HEADERS[r] for r in rows], [10 + r for r in rows]))
        for number, rows in wanted.items()
    ]  # fmt: skip
    assert len(placed) > 1


def test_without_more_partitions_or_keys_nothing_is_taken_apart():
    keyed, unkeyed = Columns(VALUES, KEYS, None, 7), Columns(VALUES, None, None, 7)
    assert keyed.placed(1, 0) == [(0, keyed)]
    assert unkeyed.placed(3, 2) == [(2, unkeyed)]
    assert unkeyed.placed(1, 0) == [(0, unkeyed)]
    two = keyed.placed(2, 0)
    assert {number for number, _ in two} == {0, 1}
    assert all(part.times_ms == 7 and part.headers is None for _, part in two)


@pytest.mark.parametrize("times", [1_000, [5, 6]])
def test_messages_count_their_offsets_from_the_start(times):
    columns = Columns([b"x", None], [b"k", None], [[], [("h", b"1")]], times)
    found = [
        (m.topic(), m.partition(), m.offset(), m.key(), m.value(), m.timestamp(), m.headers())
        for m in columns.messages("t", 3, 40)
    ]
    first, second = (times, times) if isinstance(times, int) else times
    assert found == [
        ("t", 3, 40, b"k", b"x", (1, first), None),
        ("t", 3, 41, None, None, (1, second), [("h", b"1")]),
    ]
    bare = [*Columns([b"x"], None, None, 0).messages("t", 0, 0)]
    assert [(m.key(), m.headers()) for m in bare] == [(None, None)]
    assert StoredMessage("t", 0, 0, None, None, 0, []).headers() is None


@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("length", [0, 1, 3])
def test_each_column_has_to_be_as_long_as_the_values(column, length):
    parts = [[b"k"] * 2, [[]] * 2, [1] * 2]
    Columns([b"x"] * 2, *parts).check()
    parts[column] = parts[column][:1] * length
    with pytest.raises(LogError, match=f"a column of {length} goes with 2 values"):
        Columns([b"x"] * 2, *parts).check()


def test_the_columns_of_an_output_have_one_time():
    output = Output("t", [b"x"], [b"k"], [[("h", b"1")]])
    assert Columns.of(output, 9) == Columns([b"x"], [b"k"], [[("h", b"1")]], 9)
    with pytest.raises(LogError):
        Columns.of(Output("t", [b"x"], [b"k", b"l"]), 9)
