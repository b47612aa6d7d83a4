"""Two workers under one identity, on two machines as far as they know."""

from __future__ import annotations

import pytest

from tests.integration.running import ENRICH, bench, trips

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def test_one_of_two_workers_under_one_identity_ends_by_name_and_the_other_goes_on(bench, tmp_path):
    bench.create()
    runs = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        place = {"TMPDIR": str(tmp_path / name)}  # each has its own files of slots
        run = bench.run(ENRICH, "--instance", "twin", env=place)
        run.until(lambda run: "partitions changed" in run.text(), "partitions")
        runs.append(run)
    ended = None
    while ended is None:
        bench.topics.fill(bench.trips, trips(20))
        ended = next((run for run in runs if run.process.poll() is not None), None)
    assert ended.process.poll() == 2, ended.tail()
    assert "another worker runs under the identity" in ended.text(), ended.tail()
    assert "--instance" in ended.text()
    (other,) = (run for run in runs if run is not ended)
    other.terminate().succeeds(60)
