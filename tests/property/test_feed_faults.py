"""The sweep over crashes of a feeder finds three faults that are planted on purpose."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from processor.engine.commit.committer import Committer
from processor.errors import ProcessorError
from processor.feeds.files import NOTED, FilesReading
from processor.testing import Crash, TestDriver
from tests.feeding import FEEDER, STEPS, copying, put, rows_of, text_of


def exact(folder: Path) -> bool:
    """Whether each row comes once, wherever the feeder is killed."""
    for step in STEPS:
        where = folder / step.replace(":", "-")
        where.mkdir(parents=True)
        expected = []
        for number in range(3):
            rows = [(f"u{n}", n) for n in range(5)]
            put(where, f"{number}.csv", text_of(rows), number)
            expected += [(user, n, f"{number}.csv") for user, n in rows]
        driver = TestDriver(copying(where, clean_source="delete"), batch_records_max=3)
        with suppress(ProcessorError):
            for _ in range(6):
                driver.crash_at(step, FEEDER)
                try:
                    driver.turn(FEEDER)
                except Crash:
                    driver.restart(FEEDER)
                driver.spare()
                driver.turn(FEEDER)
            driver.run()
        if rows_of(driver) != expected:
            return False
    return True


def plain_place(monkeypatch):
    """The place is committed by itself, before the transaction."""
    real = Committer._begin

    def begin(self, work):
        self._consumer.commit(work.offsets(), 1)
        return real(self, work)

    monkeypatch.setattr(Committer, "_begin", begin)


def noted_early(monkeypatch):
    """A file is noted as read when its first rows are."""
    real = FilesReading.read

    def read(self, limit):
        piece = real(self, limit)
        if piece is None or not piece.place:
            return piece
        note = {key: piece.place[key] for key in NOTED}
        return replace(piece, notes=[*piece.notes, note])

    real_begin = FilesReading.begin

    def begin(self, place, notes):
        notes = list(notes)
        done = {note.get("f") for note in notes}
        real_begin(self, {} if place.get("f") in done else place, notes)

    monkeypatch.setattr(FilesReading, "read", read)
    monkeypatch.setattr(FilesReading, "begin", begin)


def cleared_early(monkeypatch):
    """A file is cleared away when it was read, and not when that was committed."""
    real = FilesReading.read

    def read(self, limit):
        piece = real(self, limit)
        for note in piece.notes if piece else ():
            if "f" in note:
                self._files.folder.of(note["f"]).unlink(missing_ok=True)
        return piece

    monkeypatch.setattr(FilesReading, "read", read)


def test_without_a_fault_the_sweep_finds_none(tmp_path):
    assert exact(tmp_path)


@pytest.mark.parametrize("fault", [plain_place, noted_early, cleared_early])
def test_a_fault_that_is_planted_is_found(tmp_path, monkeypatch, fault):
    fault(monkeypatch)
    assert not exact(tmp_path)
