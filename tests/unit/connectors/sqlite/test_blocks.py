"""Records come out of a block as they went in, and one that was changed is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processor.connectors.memory.records import Columns
from processor.connectors.sqlite.blocks import BYTES_MAX, RECORDS_MAX, blocks
from processor.model.log import TopicPartition

TP = TopicPartition("t", 3)
CELL = st.none() | st.binary(max_size=20)
HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3)
RECORD = st.tuples(CELL, CELL, HEADERS, st.integers(-(2**62), 2**62))


def told(messages):
    return [
        (m.offset(), m.key(), m.value(), m.timestamp()[1], m.headers() and [*m.headers()])
        for m in messages
    ]


def read(columns: Columns, base: int = 0):
    made = list(blocks(base, columns, aborted=False))
    assert all(block.whole() for block in made)
    return [message for block in made for message in block.messages(TP)]


@given(st.lists(RECORD, min_size=1, max_size=40), st.booleans(), st.booleans(), st.booleans())
def test_whatever_is_in_records_comes_back(records, keyed, headed, timed):
    values, keys, headers, times = map(list, zip(*records, strict=True))
    columns = Columns(
        values, keys if keyed else None, headers if headed else None, times if timed else 17
    )
    assert told(read(columns, 5)) == told(columns.messages(*TP, 5))


def test_many_records_and_large_ones_are_dealt_out_to_several_blocks():
    many = Columns([b"%d" % n for n in range(2 * RECORDS_MAX + 1)], None, None, 0)
    assert [b.records for b in blocks(0, many, aborted=False)] == [RECORDS_MAX, RECORDS_MAX, 1]
    assert [m.value() for m in read(many)] == many.values
    large = Columns([b"x" * (BYTES_MAX // 3)] * 8, [b"%d" % n for n in range(8)], None, [*range(8)])
    made = list(blocks(0, large, aborted=False))
    assert [(b.id, b.records, b.newest_ms) for b in made] == [
        (0, 2, 1), (2, 2, 3), (4, 2, 5), (6, 2, 7)
    ]  # fmt: skip
    assert told(read(large)) == told(large.messages(*TP, 0))
    (alone,) = blocks(0, Columns([b"x" * (3 * BYTES_MAX)], None, None, 0), aborted=False)
    assert alone.size > 3 * BYTES_MAX


@given(st.data())
def test_a_bit_that_is_flipped_is_noticed(data):
    columns = Columns([b"one", b"two"], [b"k", None], [[("h", b"v")], ()], [1, 2])
    (block,) = blocks(0, columns, aborted=False)
    name = data.draw(st.sampled_from(["times", "keys", "headers", "data"]))
    changed = bytearray(getattr(block, name))
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    assert not block._replace(**{name: bytes(changed)}).whole()
