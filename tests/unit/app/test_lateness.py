import pytest
from structlog.testing import capture_logs

from processor.app.lateness import AGAIN_MS, Lateness
from processor.metrics.progress import BatchReport


def told(*batches):
    """The warnings of batches of so many records, late ones, at so many milliseconds."""
    watch = Lateness("rides")
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
