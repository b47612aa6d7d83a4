import pytest

from processor.clock import ManualClock
from processor.connectors.memory.log import MemoryLog
from processor.engine.running.batcher import Batcher, ContinuityError, Limits, Opening, Share
from processor.model.log import Output, Polled, TopicPartition
from tests.unit.messages import Fake

FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)


def made(**limits) -> tuple[Batcher, MemoryLog, ManualClock]:
    clock = ManualClock()
    log = MemoryLog(clock)
    log.create({"in": 2})
    consumer = log.consumer("group", "one", ["in"])
    consumer.poll(1, 0)
    batcher = Batcher(consumer, "in", clock, Limits(wait_s=0.0, **limits))
    batcher.open({FIRST: 0, SECOND: 0})
    return batcher, log, clock


def test_nothing_is_due_without_a_record():
    batcher, _, clock = made(interval_s=0.0)
    batcher.poll()
    clock.advance(100)
    assert not batcher.due()
    assert batcher.empty()


def test_a_record_on_a_quiet_topic_is_due_at_once():
    batcher, log, _ = made(interval_s=1.0)
    log.feed("in", [b"a"], partition=0)
    batcher.poll()
    assert batcher.due()


@pytest.mark.parametrize("interval_s", [0.0, 0.1])
def test_what_is_ready_behind_a_first_record_comes_along_and_nothing_is_waited_for(
    interval_s, monkeypatch
):
    clock = ManualClock()
    log = MemoryLog(clock)
    log.create({"in": 2})
    consumer = log.consumer("group", "one", ["in"])
    consumer.poll(1, 0)
    batcher = Batcher(consumer, "in", clock, Limits(interval_s=interval_s))
    batcher.open({FIRST: 0, SECOND: 0})
    log.feed("in", [b"a", b"b"], partition=0)
    asked: list[float] = []
    poll = consumer.poll
    monkeypatch.setattr(
        consumer, "poll", lambda n, wait_s: (asked.append(wait_s), poll(n, wait_s))[1]
    )
    batcher.poll()
    assert asked == [0.1, 0.0]
    assert batcher.take()[FIRST].values == [b"a", b"b"]


def test_two_batches_start_no_closer_than_the_interval():
    batcher, log, clock = made(interval_s=1.0)
    log.feed("in", [b"a"], partition=0)
    batcher.poll()
    batcher.take()
    log.feed("in", [b"b"], partition=0)
    batcher.poll()
    assert not batcher.due()
    clock.advance(0.5)
    log.feed("in", [b"c"], partition=1)
    batcher.poll()
    assert not batcher.due()
    clock.advance(0.5)
    assert batcher.due()
    shares = batcher.take()
    assert {p: s.values for p, s in shares.items()} == {FIRST: [b"b"], SECOND: [b"c"]}


def test_a_batch_that_is_due_still_takes_what_the_client_has_ready():
    """Where a batch takes longer than the interval, the next one is due with its first records."""
    batcher, log, clock = made(interval_s=0.1, records_max=9_000)
    batcher.take()
    log.feed("in", [b"a"] * 10_000, partition=0)
    clock.advance(1)
    polls = 0
    while not batcher.due():
        batcher.poll()
        polls += 1
    assert len(batcher.take()[FIRST].messages) == 9_000
    assert polls == 3
    batcher.poll()
    clock.advance(1)
    assert batcher.due(), "the client had no more: nothing is waited for"
    assert len(batcher.take()[FIRST].messages) == 1_000


def test_a_full_batch_does_not_wait_for_the_interval_and_takes_no_more():
    batcher, log, _ = made(interval_s=60.0, records_max=3)
    batcher.take()
    log.feed("in", [b"a"] * 5, partition=0)
    for _ in range(4):
        batcher.poll()
    assert batcher.due()
    assert len(batcher.take()[FIRST].messages) == 3


def test_a_batch_is_due_when_it_holds_enough_bytes():
    batcher, log, _ = made(interval_s=60.0, bytes_max=1000)
    batcher.take()
    log.feed("in", [b"x" * 600], partition=0)
    batcher.poll()
    assert not batcher.due()
    log.feed("in", [b"x" * 600, None], partition=1)
    batcher.poll()
    assert batcher.due()


def test_what_was_polled_of_a_partition_that_is_shut_is_forgotten():
    batcher, log, clock = made(interval_s=60.0)
    batcher.take()
    log.feed("in", [b"a"], partition=0)
    log.feed("in", [b"b"], partition=1)
    for _ in range(3):
        batcher.poll()
    batcher.shut([FIRST])
    clock.advance(60)
    assert list(batcher.take()) == [SECOND]
    batcher.shut([FIRST, SECOND])
    assert batcher.empty()


def test_nothing_is_read_of_a_partition_that_is_shut_before_it_is_open_again():
    batcher, log, _ = made(interval_s=0.0)
    batcher.shut([FIRST])
    log.feed("in", [b"a", b"b"], partition=0)
    batcher.poll()
    assert batcher.empty()
    batcher.open({FIRST: 1})
    batcher.poll()
    assert batcher.take()[FIRST].values == [b"b"]


def test_an_opening_begins_with_nothing_of_the_one_before():
    batcher, log, _ = made(interval_s=60.0)
    batcher.take()
    log.feed("in", [b"a", b"b", b"c"], partition=0)
    batcher.poll()
    batcher.open({FIRST: 1})
    for _ in range(2):
        batcher.poll()
    share = batcher.take()[FIRST]
    assert share.values == [b"b", b"c"]
    assert share.first == 0
    share.check(FIRST, 1)


def test_records_of_a_partition_that_nobody_opened_are_thrown_away(monkeypatch):
    """Whatever a client does: the next opening reads them."""
    batcher, log, _ = made(interval_s=0.0)
    monkeypatch.setattr(batcher._consumer, "shut", lambda partitions: None)
    batcher.shut([FIRST])
    log.feed("in", [b"a"], partition=0)
    batcher.poll()
    assert batcher.empty()
    batcher.open({FIRST: 0})
    batcher.poll()
    assert batcher.take()[FIRST].values == [b"a"]


def one_batch(batcher, log, values, partition=0):
    log.feed("in", values, partition=partition)
    while batcher.poll().messages:
        pass
    return batcher.take()[TopicPartition("in", partition)]


def test_a_batch_continues_the_one_before():
    batcher, log, _ = made(interval_s=0.0)
    share = one_batch(batcher, log, [b"a", b"b", b"c"])
    assert share.runs == [(0, 0, 1), (1, 2, 2)]
    share.check(FIRST, 0)
    assert share.end() == 3
    share.took()
    share = one_batch(batcher, log, [b"d"])
    share.check(FIRST, 3)
    assert share.end() == 4


def test_a_batch_that_does_not_begin_where_the_last_one_ended_is_refused_by_name():
    batcher, log, _ = made(interval_s=0.0)
    share = one_batch(batcher, log, [b"a", b"b"])
    with pytest.raises(ContinuityError, match=r"in\[0\].*begins at 0.*ends at 1"):
        share.check(FIRST, 1)


def test_a_batch_behind_one_that_was_not_committed_is_refused_by_name():
    batcher, log, _ = made(interval_s=0.0)
    one_batch(batcher, log, [b"a", b"b"])
    share = one_batch(batcher, log, [b"c"])
    with pytest.raises(ContinuityError, match="record 2 of its opening, not with 0"):
        share.check(FIRST, 0)


@pytest.mark.parametrize(
    ("offsets", "position"),
    [([0, 1, 1], 0), ([3, 2], 0), ([0, 1], 1), ([5, 6, 0], 0), ([4, 9, 7], 0)],
)
def test_offsets_that_do_not_rise_from_the_position_on_are_refused_by_name(offsets, position):
    share = Share(Opening(position), 0)
    for at in offsets:
        share.runs.append((at, at, 1))
    with pytest.raises(ContinuityError, match="1 records from"):
        share.check(FIRST, position)


def test_a_run_that_spans_fewer_offsets_than_it_has_records_is_refused_by_name():
    share = Share(Opening(0), 0, runs=[(3, 6, 5)])
    with pytest.raises(ContinuityError, match="5 records from 3 to 6"):
        share.check(FIRST, 0)


def test_gaps_that_a_log_has_are_no_fault():
    Share(Opening(2), 0, runs=[(2, 4, 2), (9, 9, 1)]).check(FIRST, 2)


def test_a_batch_without_records_passes_the_marks_that_follow_the_last_one():
    batcher, log, _ = made(interval_s=0.0)
    producer = log.producer("a")
    producer.start(0)
    producer.begin()
    producer.produce(Output("in", [b"a"], partition=0))
    producer.commit(0)
    share = one_batch(batcher, log, [], partition=0)
    assert (share.values, share.end()) == ([b"a"], 1)
    share.took()
    batcher.poll()
    assert batcher.end(FIRST) == 2
    nothing = batcher.nothing([FIRST])[FIRST]
    nothing.check(FIRST, 1)
    assert nothing.end() == 2


def test_a_batch_without_records_leaves_alone_what_waits_for_the_next_one():
    batcher, log, _ = made(interval_s=60.0)
    batcher.take()
    log.feed("in", [b"a"], partition=0)
    batcher.poll()
    nothing = batcher.nothing([FIRST])[FIRST]
    nothing.check(FIRST, 0)
    assert nothing.end() == 0
    nothing.took()
    share = batcher.take()[FIRST]
    share.check(FIRST, 0)
    assert share.values == [b"a"]


def test_the_end_of_one_opening_is_not_that_of_the_next():
    batcher, log, _ = made(interval_s=0.0)
    one_batch(batcher, log, [b"a", b"b"])
    batcher.poll()
    assert batcher.end(FIRST) == 2
    batcher.open({FIRST: 0})
    assert batcher.end(FIRST) is None


def test_an_undone_batch_takes_the_end_that_it_had_heard_of_with_it():
    """Else a batch without records would pass over what is to be read again."""
    batcher, log, _ = made(interval_s=0.0)
    log.feed("in", [b"a", b"b"], partition=0)
    for _ in range(3):
        batcher.poll()
    assert batcher.end(FIRST) == 2
    shares = batcher.take()
    assert shares[FIRST].end() == 2
    batcher.open({FIRST: 0})
    assert batcher.end(FIRST) is None
    assert batcher.nothing([FIRST])[FIRST].end() == 0
    # The other partition was not undone.
    assert batcher.end(SECOND) == 0
    for _ in range(3):
        batcher.poll()
    again = batcher.take()[FIRST]
    again.check(FIRST, 0)
    assert again.values == [b"a", b"b"]


def fake(batcher, number, at, body, **parts) -> Fake:
    """A record that has come, without a log."""
    message = Fake(body, at, number, **parts)
    batcher._add(TopicPartition("in", number), [message])
    return message


def test_keys_and_headers_are_bytes_of_a_batch_too_and_it_is_due_with_the_last_of_them():
    batcher, _, _ = made(interval_s=60.0, bytes_max=100)
    batcher.take()
    fake(batcher, 0, 0, b"v" * 10, name=b"k" * 20, tags=[("name", b"x" * 30), ("none", None)])
    fake(batcher, 0, 1, None, name=None)
    assert batcher._shares[FIRST].bytes == 68
    assert not batcher.due()
    fake(batcher, 1, 0, b"v" * 31)
    assert not batcher.due()
    fake(batcher, 1, 1, b"v")
    assert batcher.due()
    # The next batch begins with none.
    batcher.take()
    fake(batcher, 1, 2, b"v" * 99)
    assert not batcher.due()
    fake(batcher, 1, 3, b"v")
    assert batcher.due()


def test_of_many_records_some_are_looked_at_for_their_bytes_beside_the_value():
    batcher, _, _ = made(interval_s=60.0)
    # Of up to 63 each, of 320 each eleventh: by turns one that is large and one that is small.
    for number, count, step in ((0, 63, 1), (1, 320, 11)):
        keys = [b"" if at % step else b"k" * (6 + at % 2 * 4) for at in range(count)]
        messages = [Fake(b"", at, number, key) for at, key in enumerate(keys)]
        batcher._add(TopicPartition("in", number), messages)
    assert batcher._shares[FIRST].bytes == 32 * 6 + 31 * 10
    assert batcher._shares[SECOND].bytes == (15 * 6 + 15 * 10) * 320 // 30


def test_what_is_forgotten_of_a_batch_makes_room_in_it():
    batcher, log, _ = made(interval_s=60.0, records_max=4, bytes_max=1000)
    batcher.take()
    log.feed("in", [b"x" * 300] * 2, partition=0)
    log.feed("in", [b"y" * 300], partition=1)
    for _ in range(4):
        batcher.poll()
    assert not batcher.due()
    batcher.open({FIRST: 0})
    for _ in range(4):
        batcher.poll()
    assert not batcher.due()
    log.feed("in", [b"y"], partition=1)
    for _ in range(2):
        batcher.poll()
    assert batcher.due()
    assert sum(len(share.messages) for share in batcher.take().values()) == 4


def test_the_consumer_is_told_what_is_shut(monkeypatch):
    batcher, _, _ = made()
    told = []
    monkeypatch.setattr(batcher._consumer, "shut", told.append)
    batcher.shut([FIRST])
    assert told == [[FIRST]]


def test_a_poll_into_a_batch_waits_no_longer_than_until_it_is_due(monkeypatch):
    batcher, log, clock = made(interval_s=1.0)
    clock.advance(100)
    batcher.take()
    log.feed("in", [b"a"], partition=0)
    batcher.poll()
    asked = []
    monkeypatch.setattr(
        batcher._consumer, "poll", lambda n, wait_s: (asked.append(round(wait_s, 6)), Polled())[1]
    )
    for step_s in (0.0, 0.99, 0.5):
        clock.advance(step_s)
        batcher.poll()
    assert asked == [0.02, 0.01, 0.0]


def test_a_full_batch_polls_no_more(monkeypatch):
    batcher, log, _ = made(interval_s=60.0, records_max=2)
    batcher.take()
    log.feed("in", [b"a"] * 2, partition=0)
    batcher.poll()
    assert batcher.due()
    monkeypatch.setattr(batcher._consumer, "poll", lambda *_: pytest.fail("it has no room"))
    assert batcher.poll() == Polled()


def test_what_is_ready_fills_a_batch_to_its_limit_at_once():
    batcher, log, _ = made(interval_s=60.0, records_max=5)
    batcher.take()
    log.feed("in", [b"a"] * 9, partition=0)
    batcher.poll()
    assert batcher.due()


def test_a_batch_without_a_known_end_ends_where_it_begins():
    assert [Share(Opening(at), 0).end() for at in (0, 3)] == [0, 3]


def test_a_share_lets_go_of_its_records():
    batcher, log, _ = made()
    share = one_batch(batcher, log, [b"a"])
    share.clear()
    assert (share.messages, share.values, share.end()) == ([], [], 1)


def test_a_record_without_an_offset_is_refused_by_name():
    batcher, _, _ = made()
    with pytest.raises(ContinuityError, match="without its offset"):
        fake(batcher, 0, None, b"a")


def test_all_is_at_its_end_when_what_was_given_is_committed_and_nothing_follows():
    batcher, log, _ = made(interval_s=0.0)
    assert not batcher.at_end()  # nobody has looked yet
    batcher.poll()
    assert batcher.at_end()
    log.feed("in", [b"a", b"b"], partition=0)
    batcher.poll()
    assert not batcher.at_end()
    (share,) = batcher.take().values()
    assert not batcher.at_end()
    share.took()
    assert batcher.at_end()
    batcher.open({FIRST: 0})  # the batch did not happen after all
    assert not batcher.at_end()


def test_a_position_passes_marks_only_when_all_before_them_is_committed():
    batcher, log, _ = made(interval_s=0.0)
    producer = log.producer("feeder")
    producer.start(0)
    producer.begin()
    producer.produce(Output("in", [b"a"], partition=0))
    producer.commit(0)
    assert batcher.passed(FIRST, 0) == 0
    batcher.poll()
    batcher.poll()
    assert batcher.passed(FIRST, 0) == 0
    (share,) = batcher.take().values()
    assert batcher.passed(FIRST, 0) == 0
    share.took()
    assert batcher.passed(FIRST, 1) == 2
    assert batcher.passed(TopicPartition("in", 7), 5) == 5
    batcher.shut([FIRST])
    assert batcher.passed(FIRST, 1) == 1


def test_the_seconds_are_told_that_records_took_to_come_without_the_wait_for_the_first(monkeypatch):
    batcher, log, clock = made(interval_s=60.0)
    clock.advance(1000)
    batcher.take()
    assert batcher.fetched_s == 0.0
    poll, took_s = batcher._consumer.poll, iter([4.0, 4.0, 2.0, 1.0, 0.5])

    def slow(count, wait_s):
        clock.advance(next(took_s))
        return poll(count, wait_s)

    monkeypatch.setattr(batcher._consumer, "poll", slow)
    batcher.poll()
    log.feed("in", [b"a", b"b"], partition=0)
    batcher.poll()  # one record, and 2 s for what is ready behind it
    log.feed("in", [b"c", b"d"], partition=0)
    batcher.poll()  # 1 s
    batcher.poll()  # nothing
    assert list(took_s) == []
    assert batcher.fetched_s == 0.0
    assert batcher.take()[FIRST].values == [b"a", b"b", b"c", b"d"]
    assert batcher.fetched_s == 3.0
    batcher.nothing([FIRST])
    assert batcher.fetched_s == 0.0
    batcher.take()
    assert batcher.fetched_s == 0.0
