from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

import pytest

from processor.engine.commit.protocol import Step
from processor.engine.running.report import phases_of, report_of
from processor.metrics.progress import BatchReport
from processor.metrics.standing import Standing
from processor.model.batch import Counts, Result
from processor.model.log import Output, TopicPartition
from processor.testing import TestDriver
from tests.topologies import ride, totals, windowed

A = TopicPartition("rides", 0)


def standing(driver, worker=0):
    return driver._workers[worker].standing()


def test_phases_add_up_the_steps_of_the_commit():
    steps = {Step.STAGE: 1.0, Step.GUARD: 2.0, Step.COMMIT: 4.0}
    assert phases_of(8.0, 16.0, steps) == {
        "poll": 8.0, "process": 16.0, "stage": 1.0, "commit": 6.0,
    }  # fmt: skip


@pytest.mark.parametrize(("aside", "published"), [(6, 3), (2, 7)])
def test_what_a_batch_has_done_is_told_to_the_record(aside, published):
    """What is set aside is no output: dead letters, and late records where they are sent on."""
    counts = Counts(read=20, contributed=10, dead_lettered=2, late=4, skipped=1, filtered=3)
    outputs = [Output("out", [b"1"] * 4), Output("late-or-dead", [b"2"] * 5)]
    letters = Counter({"decode": 2, "group": 1})
    result = Result(outputs, counts=counts, misplaced=6, letters=letters, aside=aside)
    tasks = {
        TopicPartition("rides", number): SimpleNamespace(
            rows=lambda: 5, memory_bytes=lambda: 70, event_time_max=time
        )
        for number, time in enumerate([None, 7_000_999, -1])
    }
    work = SimpleNamespace(prepared=[SimpleNamespace(bytes=8), SimpleNamespace(bytes=9)])
    for delay, behind in ((None, 0), (timedelta(0), 0), (timedelta(seconds=2), 2_000)):
        assert report_of(result, work, tasks, delay=delay) == BatchReport(
            "", "", 0, 0, records_in=20, records_out=published, contributed=10, dead_lettered=2,
            late=4, skipped=1, filtered=3, misplaced=6, state_rows=15, state_bytes=210,
            checkpoint_bytes=17, letters={"decode": 2, "group": 1},
            watermark_ms={
                A: None, TopicPartition("rides", 1): 7_000 - behind,
                TopicPartition("rides", 2): -1 - behind,
            },
        )  # fmt: skip


def test_a_worker_that_took_state_over_shows_it_before_its_first_batch():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(50)))
    driver.run()
    before = standing(driver)
    driver.kill()
    driver.expire()
    driver.restart()
    reports = len(driver.reports)
    driver.run()
    assert len(driver.reports) == reports
    assert standing(driver) == before
    assert before.state_rows == 5
    assert before.state_bytes > 0


def test_a_worker_shows_nothing_of_what_it_no_longer_has():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(50)))
    driver.run()
    worker = driver._workers[0]
    worker.close(leave=False)
    assert worker.standing() == Standing()
    assert worker.standing().assigned == 0


def test_partitions_that_are_not_loaded_yet_are_assigned_and_pending():
    driver = TestDriver(totals(), partitions=3)
    worker = driver._workers[0]
    worker._recovery.load = lambda _: []
    driver.turn()
    assert worker.standing().pending == 3
    assert worker.standing().assigned == 3
    assert not worker.ready


def test_how_far_a_worker_has_got_passes_the_marks_behind_what_it_has_committed():
    driver = TestDriver(totals())
    producer = driver.log.producer("feeder")
    producer.start(0)
    for end in (producer.commit, producer.abort):
        producer.begin()
        producer.produce(Output("rides", [b'{"k":"a","t":"2024-01-01T00:00:00","n":1}']))
        end(0)
    driver.run()
    stable = driver.log.describe(["rides"])["rides"].extents[0].high
    assert driver.committed()[A].offset < stable
    assert standing(driver).positions == {A: stable}
    assert driver.reports[-1].lag == {A: 0}


def test_what_is_read_and_not_committed_is_not_passed():
    driver = TestDriver(totals(), interval_s=1.0)
    driver.feed(map(ride, range(3)))
    while not driver.turn():
        pass
    assert standing(driver).positions == {A: 3}
    driver.feed(map(ride, range(4)))
    driver.turn()
    assert standing(driver).positions == {A: 3}
    assert not driver._workers[0].idle
    driver.advance(1)
    driver.run()
    assert standing(driver).positions == {A: 7}
    assert driver._workers[0].idle


def test_the_time_of_a_batch_does_not_count_waiting():
    driver = TestDriver(totals())
    driver.run()
    consumer = driver._workers[0]._batcher._consumer
    poll = consumer.poll

    def slow(records_max, timeout_s):
        found = poll(records_max, timeout_s)
        driver.advance(0.25 if found.messages else 100.0)
        return found

    consumer.poll = slow
    for _ in range(2):
        driver.turn()
    driver.feed(map(ride, range(2)))
    driver.turn()
    report = driver.reports[-1]
    # The first record is waited for; what was ready behind it took its time.
    assert report.phases["poll"] == 0.25
    assert report.seconds == 0.25
    assert report.ended_ms == driver.clock.now_ms()


def test_watermarks_are_shown_by_partition_and_none_before_an_event_time():
    driver = TestDriver(windowed(delay="30 minutes"), partitions=2)
    driver.feed([ride(45)], partition=1)
    driver.run()
    marks = standing(driver).watermark_ms
    assert marks[A] is None
    assert marks[TopicPartition("rides", 1)] == 1_704_067_200_000 + 15 * 60_000
