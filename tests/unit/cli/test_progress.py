from processor.cli import progress
from processor.clock import ManualClock
from processor.connectors.memory.log import MemoryLog
from processor.model.log import TopicPartition


def test_it_is_told_now_and_then(capsys):
    clock = ManualClock()
    counted = progress.Progress("verify", "offsets", 100, clock)
    for _ in range(10):
        counted.done(10)
        clock.advance(progress.EVERY_S / 2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "verify: 30 of 100 offsets (30 %)"
    assert lines[-1] == "verify: 90 of 100 offsets (90 %)"


def test_a_short_command_says_nothing(capsys):
    progress.Progress("late", "offsets", 5).done(5)
    assert capsys.readouterr().err == ""


def test_a_scan_counts_offsets_gaps_among_them():
    log = MemoryLog()
    log.create({"in": 1})
    log.feed("in", [b"x"] * 25)
    counted = progress.Progress("verify", "offsets", 30)
    assert sum(map(len, counted.scan(log, TopicPartition("in", 0), 0, 30))) == 25
    assert counted.text() == "verify: 30 of 30 offsets (100 %)"
    assert progress.Progress("verify", "offsets", 0).text().endswith("(100 %)")
