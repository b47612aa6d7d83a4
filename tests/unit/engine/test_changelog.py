"""The changelog is read in windows: what a loading holds does not grow with what it loads."""

import random
import tracemalloc

import pytest

from processor.connectors.memory.log import MemoryLog
from processor.connectors.ports import Blob
from processor.engine import changelog
from processor.engine.changelog import Changelog
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
