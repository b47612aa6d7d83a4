from processor.metrics.progress import BatchReport
from processor.model.log import TopicPartition

A = TopicPartition("rides", 0)
B = TopicPartition("rides", 1)


def test_the_log_line_sums_partitions_and_shows_the_worst_watermark():
    fields = BatchReport(
        "t",
        "t.0",
        4,
        started_ms=10_000,
        records_in=100,
        phases={"poll": 0.5, "commit": 0.5},
        lag={A: 3, B: 4},
        watermark_ms={A: 10_000, B: 9_000},
    ).log_fields()
    assert fields["lag_records"] == 7
    assert fields["partitions"] == 2
    assert fields["watermark_lag_s"] == 2.0
    assert fields["records_per_s"] == 100
    assert fields["poll_s"] == 0.5
    assert all(isinstance(field, str | int | float) for field in fields.values())


def test_a_watermark_ahead_of_the_clock_is_no_negative_lag():
    report = BatchReport("t", "t.0", 1, started_ms=0, watermark_ms={A: 5_000, B: None})
    assert report.watermark_lag_s() == {A: 0.0}


def test_what_did_not_happen_is_not_in_the_line():
    fields = BatchReport("t", "t.0", 1, started_ms=0).log_fields()
    assert "late" not in fields
    assert "watermark_lag_s" not in fields
    assert fields["records_per_s"] == 0
