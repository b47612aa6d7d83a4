"""Letters are cut into transactions that note exactly what they send, and what lies between."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.connectors.memory.records import StoredMessage
from processor.engine.offline import batches as module
from processor.engine.offline.batches import Batch, Cutter
from processor.model.letters import letter_of
from processor.model.log import TopicPartition
from processor.model.offsets import Offsets
from tests.unit.engine.lettered import headers

DEAD = TopicPartition("dead", 0)


def message(offset, origin, value=b"v", key=b"k"):
    return StoredMessage("dead", 0, offset, key, value, 5, headers(origin))


def cut(runs, *, start=0, stop=100, done=(), noted=(), stays=(), most=100):
    """The batches, each of the noted records known to the next."""
    known = {TopicPartition("in", 0): Offsets.of((n, n + 1) for n in noted)}
    cutter = Cutter(
        DEAD, range(start, stop), Offsets.of((n, n + 1) for n in done), known, "in",
        lambda _, letter: letter.message.offset() in stays, lambda: most,
    )  # fmt: skip
    for batch in cutter.batches(runs):
        yield batch
        for where, offsets in batch.noted("in").items():
            if where.topic == "in":
                known[where] = Offsets.union([known.get(where, Offsets.of(())), offsets])


offsets = st.lists(st.integers(0, 40), unique=True, max_size=25).map(sorted)


@settings(deadline=None)
@given(
    there=offsets,
    origins=st.lists(st.integers(0, 30), min_size=25, max_size=25),
    done=st.sets(st.integers(0, 40)),
    noted=st.sets(st.integers(0, 30), max_size=5),
    stays=st.sets(st.integers(0, 40)),
    most=st.integers(1, 6),
    run=st.integers(1, 7),
)
def test_what_is_sent_is_noted_and_what_stays_is_not(
    *, there, origins, done, noted, stays, most, run
):
    messages = [message(o, origins[i]) for i, o in enumerate(there)]
    runs = [messages[i : i + run] for i in range(0, len(messages), run)]
    made = [*cut(runs, stop=50, done=done, noted=noted, stays=stays, most=most)]
    wanted = [o for o in there if o not in done and o not in stays]

    # The transactions are full but for the last, and have all, in order.
    assert [len(batch) for batch in made[:-1]] == [most] * (len(made) - 1)
    assert sum(map(len, made)) == len(wanted)
    assert [batch.first() for batch in made] == wanted[::most]

    # Each record is sent by its first letter.
    first = {}
    for offset in wanted:
        origin = origins[there.index(offset)]
        if origin not in noted:
            first.setdefault(origin, offset)
    sent = [
        record for batch in made for output in batch.outputs("in", stamped=True)
        for record in output.values
    ]  # fmt: skip
    assert len(sent) == len(first) == sum(batch.sent for batch in made)
    assert sum(batch.doubles for batch in made) == len(wanted) - len(first)
    of_input = [batch.noted("in").get(TopicPartition("in", 0)) for batch in made]
    assert sorted(n for part in of_input if part for a, b in part.pairs() for n in range(a, b)) == (
        sorted(first)
    )

    # Of letters, those and the empty offsets before each; behind the last one all, if it may be.
    expected, before = set(), 0
    for offset in there:
        if offset in wanted:
            expected |= set(range(before, offset + 1))
        before = offset + 1
    partly = {n for batch in made for a, b in batch.noted("in")[DEAD].pairs() for n in range(a, b)}
    rest = set(range(before, 50))
    assert partly in (expected, expected | rest)
    if there and there[-1] in wanted and len(made[-1]) < most:
        assert partly == expected | rest


def test_letters_that_follow_each_other_are_one_range_whatever_lies_between():
    (batch,) = cut([[message(o, o) for o in (3, 4, 9)], [message(20, 20)]], start=2, stop=30)
    assert batch.noted("in")[DEAD].pairs() == [(2, 30)]
    assert batch.noted("in")[TopicPartition("in", 0)].pairs() == [(3, 5), (9, 10), (20, 21)]


def test_behind_a_letter_that_stays_nothing_is_noted():
    (batch,) = cut([[message(o, o) for o in (3, 4, 9)]], stays={9}, stop=30)
    assert batch.noted("in")[DEAD].pairs() == [(0, 5)]
    assert batch.position == 10
    (batch,) = cut([[message(o, o) for o in (3, 4, 9)]], stays={4}, stop=30)
    assert batch.noted("in")[DEAD].pairs() == [(0, 4), (5, 30)]


def test_a_transaction_holds_so_many_bytes_of_keys_and_values(monkeypatch):
    monkeypatch.setattr(module, "BYTES_MOST", 100)
    runs = [[message(o, o, b"v" * 30, b"k" * 20) for o in range(5)]]
    assert [batch.sent for batch in cut(runs)] == [2, 2, 1]
    runs = [[message(o, o, b"v" * 50, None) for o in range(5)]]
    assert [batch.sent for batch in cut(runs)] == [2, 2, 1]
    runs = [[message(o, o, None, b"k" * 99) for o in range(3)]]
    assert [batch.sent for batch in cut(runs)] == [2, 1]


def test_records_go_to_their_partitions_with_and_without_their_times():
    batch = Batch(DEAD, 0)
    for offset, partition in enumerate((1, 0, 1)):
        told = headers(offset, partition=partition, at_ms=500 + offset)
        letter = letter_of(StoredMessage("dead", 0, offset, b"k", b"%d" % offset, 5, told))
        batch.send(letter, offset)
    stamped = {o.partition: (o.values, o.timestamps) for o in batch.outputs("in", stamped=True)}
    assert stamped == {1: ([b"0", b"2"], [500, 502]), 0: ([b"1"], [501])}
    assert all(o.timestamps is None for o in batch.outputs("in", stamped=False))
