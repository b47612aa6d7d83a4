"""Each row of each file counts once, whatever the batches, the crashes and the partitions are."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.testing import Crash, TestDriver
from tests.feeding import FEEDER, STEPS, copying, put, rows_of, text_of, turned

TEXT = st.text(st.sampled_from('ab ",\n\u00e4'), min_size=1, max_size=5).filter(
    lambda text: not text.startswith("\ufeff")
)
ROWS = st.lists(st.tuples(TEXT, st.integers(-9, 9)), max_size=12)
FOLDERS = st.lists(ROWS, max_size=6)


def filled(folder: Path, files: list[list[tuple[str, int]]], since: int = 0) -> list[tuple]:
    """Files in the order of their names' reverse, each written a second after the one before."""
    expected = []
    for number, rows in enumerate(files, start=since):
        name = f"{99 - number:02}.csv"
        put(folder, name, text_of(rows), number)
        expected += [(user, n, name) for user, n in rows]
    return expected


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.tuples(FOLDERS, FOLDERS), st.integers(1, 9), st.sampled_from([None, 1, 2]),
    st.sampled_from([None, "archive", "delete"]), st.randoms(use_true_random=False),
)  # fmt: skip
def test_every_row_of_every_file_comes_once_and_in_order(parts, batch, most, clean, made):
    files, later = parts
    with tempfile.TemporaryDirectory() as directory:
        folder, archive = Path(directory, "in"), Path(directory, "read")
        folder.mkdir()
        expected = filled(folder, files)
        topology = copying(
            folder, max_files_per_trigger=most, clean_source=clean,
            archive=archive if clean == "archive" else None,
        )  # fmt: skip
        driver = TestDriver(topology, batch_records_max=batch)
        turned(driver, made, 25)
        expected += filled(folder, later, len(files))
        turned(driver, made, 25)
        driver.run()
        assert rows_of(driver) == expected
        assert not driver.dead_letters()
        # The last file of all may be cleared away by whoever starts next.
        driver.stop(FEEDER)
        driver.restart(FEEDER)
        driver.run()
        assert rows_of(driver) == expected
        names = sorted(f"{99 - n:02}.csv" for n in range(len(files) + len(later)))
        assert sorted(p.name for p in folder.iterdir()) == ([] if clean else names)
        assert sorted(p.name for p in archive.glob("*")) == (names if clean == "archive" else [])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_a_crash_at_any_step_of_the_feeder_costs_no_row_and_gives_none_twice(
    tmp_path, step, guarantee
):
    folder = tmp_path / "in"
    folder.mkdir()
    expected = filled(folder, [[(f"u{n}", n) for n in range(7)] for _ in range(4)])
    topology = copying(folder, clean_source="delete")
    driver = TestDriver(topology, batch_records_max=4, guarantee=guarantee)
    crashed = 0
    for _ in range(12):
        driver.crash_at(step, FEEDER)
        try:
            driver.turn(FEEDER)
        except Crash:
            crashed += 1
            driver.restart(FEEDER)
        driver.spare()
        driver.turn(FEEDER)
    driver.run()
    assert crashed
    assert rows_of(driver) == expected
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("seed", range(4))
def test_files_that_are_dealt_out_to_partitions_and_feeders_come_once(tmp_path, seed):
    made = random.Random(seed)
    files = [[(f"u{n}", n) for n in range(made.randrange(9))] for _ in range(12)]
    expected = filled(tmp_path, files)
    driver = TestDriver(
        copying(tmp_path, partitions=3), workers=2, batch_records_max=made.choice([3, 20])
    )
    assert turned(driver, made, 200)
    driver.run()
    assert Counter(rows_of(driver)) == Counter(expected)
    for name in {file for _, _, file in expected}:
        assert [r for r in rows_of(driver) if r[2] == name] == [r for r in expected if r[2] == name]
