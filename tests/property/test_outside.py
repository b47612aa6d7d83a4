"""Sinks outside of Kafka hold each row once, whatever happens to those who write them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.outside import Rig, fed, records_of, shaken


@pytest.fixture(autouse=True)
def no_outages(monkeypatch):
    """No machine goes down here."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.mark.parametrize(("partitions", "workers", "batch"), [(1, 1, 7), (3, 2, 25), (4, 1, 1000)])
def test_every_sink_holds_each_row_once(
    tmp_path: Path, partitions: int, workers: int, batch: int
) -> None:
    rig, parts = Rig(tmp_path), records_of(random.Random(batch), partitions, 80)
    driver = fed(rig, parts, workers=workers, batch_records_max=batch)
    driver.run()
    rig.check(driver, (r for part in parts for r in part))
    totals = driver.sql('select "user", s from totals').rows()
    assert dict(totals) == {row[0]: row[1] for row in rig.groups.last(1).values()}
    assert not [*tmp_path.rglob("*.json.pending")]


@pytest.mark.parametrize("seed", range(5))
def test_every_sink_holds_each_row_once_with_crashes_moves_aborts_and_unknown_outcomes(
    tmp_path: Path, seed: int
) -> None:
    assert shaken(tmp_path, seed) > 4
