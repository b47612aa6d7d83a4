import pytest
from structlog.testing import capture_logs

from processor.app.losses import AGAIN_MS, Losses
from processor.metrics.progress import BatchReport


def told(*batches):
    """The warnings of batches of so many records, late ones, at so many milliseconds."""
    watch = Losses("rides", "rides-dead-letters")
    with capture_logs() as lines:
        for records, late, at_ms in batches:
            watch.see(BatchReport("rides", "r.0", 1, at_ms, records_in=records, late=late))
    return lines


def test_more_than_a_hundredth_of_a_thousand_records_is_told_with_numbers_and_a_remedy():
    (line,) = told((2_000, 21, 0))
    assert (line["log_level"], line["late"], line["of"]) == ("warning", 21, 2_000)
    assert line["share"] == "1.1%"
    assert "processor late" in line["remedy"]


@pytest.mark.parametrize("batch", [(2_000, 20, 0), (999, 999, 0), (2_000, 0, 0)])
def test_fewer_late_records_or_fewer_records_are_not_told(batch):
    assert told(batch) == []


def test_small_batches_count_together():
    assert len(told(*[(100, 2, n) for n in range(10)])) == 1


def test_it_is_told_once_a_minute_at_most():
    lines = told((1_000, 500, 0), (1_000, 500, AGAIN_MS - 1), (1_000, 600, AGAIN_MS))
    assert [line["late"] for line in lines] == [500, 600]


def test_as_many_that_could_not_be_used_are_told_with_where_they_are():
    watch = Losses("rides", "aside")
    with capture_logs() as lines:
        for at_ms, bad in ((0, 20), (1, 21), (2, 900), (AGAIN_MS + 1, 30)):
            report = BatchReport("rides", "r.0", 1, at_ms, records_in=2_000, dead_lettered=bad)
            watch.see(report)
    assert [(line["event"], line["dead_lettered"]) for line in lines] == [
        ("many records are set aside", 21),
        ("many records are set aside", 30),
    ]
    assert "processor.error of each record in aside" in lines[0]["remedy"]


def test_late_ones_and_those_set_aside_are_told_apart():
    watch = Losses("rides", "aside")
    with capture_logs() as lines:
        report = BatchReport("rides", "r.0", 1, 0, records_in=1_000, late=11, dead_lettered=12)
        watch.see(report)
    assert [line.get("late") or line["dead_lettered"] for line in lines] == [11, 12]
