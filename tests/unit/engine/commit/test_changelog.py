"""The changelog is read in windows: what a loading holds does not grow with what it loads."""

import random
import tracemalloc

import pytest

from processor.connectors.memory.log import MemoryLog
from processor.connectors.ports import Blob
from processor.engine.commit import changelog
from processor.engine.commit.changelog import Changelog
from processor.errors import LogError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest

MANIFEST = Manifest(40, "a", "x", "9:a:x", None, "f", 1, "w")
BLOB = 100_000


@pytest.fixture
def written(monkeypatch):
    """A changelog with a snapshot of 40 chunks and a chain of 30 deltas across it."""
    monkeypatch.setattr(changelog, "PIECE_BYTES_MAX", 30_000)
    monkeypatch.setattr(changelog, "WINDOW_BYTES", 4 * BLOB)
    log = MemoryLog()
    changelog.prepare(log, {"a": 1}, create=True)
    dice = random.Random(1)
    deltas = {f"d:{n}:a": dice.randbytes(BLOB) for n in range(10, 40)}
    chunks = {f"s:9:a:{n}": dice.randbytes(BLOB) for n in range(40)}
    pieces = [{key: data} for key, data in deltas.items()]
    # As it is when deltas are committed while a snapshot is being written.
    for at, (key, data) in enumerate(chunks.items()):
        pieces.insert(2 * at, {key: data})
    made = Changelog(log, "a", 1.0)
    for piece in pieces:
        made.write(0, piece)
    return log, made, deltas, chunks


def _walked(loader, deltas, chunks):
    """What loading does: back over the deltas, then forward over everything."""
    for key in [*reversed(deltas), *chunks, *deltas]:
        (data,) = loader([key])
        assert data == (deltas | chunks)[key]


def test_loading_holds_a_window_and_not_the_state(written):
    _, made, deltas, chunks = written
    tracemalloc.start()
    try:
        _walked(made.loader(0, MANIFEST), deltas, chunks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A window whose last blob is being put together while its pieces are still there.
    assert peak < 4 * BLOB + 2 * BLOB + 200_000
    assert sum(map(len, [*deltas.values(), *chunks.values()])) == 70 * BLOB


def test_loading_reads_the_topic_a_few_times_and_not_once_for_every_blob(written, monkeypatch):
    log, made, deltas, chunks = written
    scanned = []
    scan = log.scan

    def counted(where, start, end, **options):
        scanned.append(end)
        return scan(where, start, end, **options)

    monkeypatch.setattr(log, "scan", counted)
    _walked(made.loader(0, MANIFEST), deltas, chunks)
    # 70 blobs in windows of 4; the deltas twice, with what lies between them.
    assert len(scanned) <= 1 + 3 * (70 / 4 + 1)


def test_what_is_not_whole_or_not_reached_is_not_given(written, monkeypatch):
    log, made, _, _ = written
    (half, *_) = made.outputs(0, [Blob("d:50:a", b"x" * 70_000, 50)])
    log.feed(made.topic, half.values[:2], half.keys[:2], partition=0)
    made.write(0, {"d:3:a": b"old", "s:9:b": b"another snapshot"})
    loader = made.loader(0, MANIFEST)
    assert loader(["d:50:a", "d:3:a", "s:9:b", "d:99:z"]) == [None] * 4


def test_windows_go_with_the_walk_and_end_with_their_last_piece(monkeypatch):
    monkeypatch.setattr(changelog, "PIECE_BYTES_MAX", 30_000)
    monkeypatch.setattr(changelog, "WINDOW_BYTES", 4 * BLOB)
    log = MemoryLog()
    changelog.prepare(log, {"a": 1}, create=True)
    made = Changelog(log, "a", 1.0)
    deltas = [f"d:{n}:a" for n in range(10, 16)]
    for number, key in enumerate(deltas):
        made.write(0, {key: bytes([number]) * BLOB})
    loader = made.loader(0, MANIFEST)
    scanned, scan = [], log.scan
    monkeypatch.setattr(log, "scan", lambda *at, **how: scanned.append(at[1:]) or scan(*at, **how))
    for number in (5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5):
        assert loader([deltas[number]]) == [bytes([number]) * BLOB]
    # Four pieces a blob: back over the last four and the first two, forward over the last four.
    assert scanned == [(8, 24), (0, 8), (8, 24)]


def test_what_an_open_or_an_aborted_transaction_wrote_is_given(written):
    """No manifest names it unless it was committed, and then it must not be missed."""
    log, made, _, _ = written
    for number, end in ((50, "abort"), (51, "")):
        producer = log.producer(f"t{number}")
        producer.start(1.0)
        producer.begin()
        for output in made.outputs(0, [Blob(f"d:{number}:a", b"x" * 70_000, number)]):
            producer.produce(output)
        producer.flush(1.0)
        if end:
            producer.abort(1.0)
    assert made.loader(0, MANIFEST)(["d:50:a", "d:51:a"]) == [b"x" * 70_000] * 2


class Said:
    """A log and its producer that note what is asked of them."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *values, **options: self.calls.append((name, *values, *options.items()))

    def producer(self, identity):
        self.calls.append(("producer", identity))
        return self

    def describe(self, topics):
        raise LogError("no answer")


@pytest.mark.parametrize(("timeout_s", "flush_s"), [(1.0, 30.0), (60.0, 60.0)])
def test_what_is_written_is_there_when_the_block_ends(timeout_s, flush_s):
    log = Said()
    made = Changelog(log, "a", timeout_s)
    (output,) = made.outputs(3, [Blob("d:1:a", b"x", 1)])
    made.write(3, {"d:1:a": b"x"})
    assert log.calls == [
        ("producer", None), ("start", timeout_s), ("produce", output), ("flush", flush_s),
        ("close",),
    ]  # fmt: skip


def test_a_producer_that_does_not_start_is_closed():
    log = Said()

    def start(timeout_s):
        raise LogError("away")

    log.start = start
    with pytest.raises(LogError, match="away"):
        Changelog(log, "a", 1.0).write(0, {"d:1:a": b"x"})
    assert log.calls == [("producer", None), ("close",)]


def test_the_topic_is_created_to_last_for_ever(monkeypatch):
    log, created = MemoryLog(), []
    create = log.create
    monkeypatch.setattr(
        log, "create", lambda *topics, **how: created.append((topics, how)) or create(*topics)
    )
    changelog.prepare(log, {"a": 2}, create=True)
    assert created == [(({"a-changelog": 2},), {"forever": True})]


def test_of_a_log_that_does_not_answer_the_end_is_nought_and_nothing_is_deleted():
    log = Said()
    made = Changelog(log, "a", 1.0)
    assert made.end(0) == 0
    made.trim(0, 0)
    assert log.calls == []
    made.trim(0, 7)
    assert log.calls == [("trim", TopicPartition("a-changelog", 0), 7)]
