"""The command around it: told first, done with --yes."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
from click.testing import CliRunner

from processor import app
from processor.cli.main import cli
from processor.testing import TestDriver
from tests.topologies import ride, totals, windowed


@pytest.fixture
def driver(tmp_path, monkeypatch):
    (tmp_path / "reset_in_a_test.py").write_text(
        "from tests.topologies import totals\ntopology = totals()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    driver = TestDriver(totals())
    driver.feed([ride(n) for n in range(9)])
    driver.run()

    monkeypatch.setattr(app, "reading", lambda _: driver.log)
    monkeypatch.setattr(app, "backends", lambda _: nullcontext(backend(driver)))
    yield driver
    sys.modules.pop("reset_in_a_test", None)


def backend(driver):
    return app.Backends(driver.log, driver.store, "in memory")


def invoke(*options):
    return CliRunner().invoke(cli, ["reset", "reset_in_a_test", *options])


def test_nothing_happens_without_yes(driver):
    driver.stop()
    before = driver.committed()
    done = invoke()
    assert done.exit_code == 0
    assert "rides[0]: offset 9 -> offset 0, 1 state blobs go" in done.output
    assert "manifest of batch 1, attempt " in done.output
    assert max(map(len, done.output.splitlines())) < 80
    assert "nothing was changed: --yes does it" in done.output
    assert driver.committed() == before


def test_yes_does_it(driver):
    driver.stop()
    done = invoke("--yes", "--to", "4")
    assert done.exit_code == 0
    assert "totals is reset" in done.output
    assert [committed.offset for committed in driver.committed().values()] == [4]
    assert driver.store.blobs(driver.task()) == {}


def test_an_application_that_never_committed_may_be_misspelt(driver, tmp_path):
    driver.stop()
    assert "has ever committed" not in invoke().output
    sys.modules.pop("reset_in_a_test")
    (tmp_path / "reset_in_a_test.py").write_text(
        "from tests.topologies import totals\ntopology = totals('totlas')\n"
    )
    done = invoke("--to", "latest", "--yes")
    assert "note: no group totlas has ever committed in this topic" in done.output
    assert done.exit_code == 0


def test_a_live_group_is_refused(driver):
    done = invoke("--yes")
    assert done.exit_code == 2
    assert "is at work" in done.output


def test_a_time_and_some_partitions(driver):
    driver.stop()
    done = invoke("--yes", "--to", "9999-01-01", "--partitions", " 0, 0")
    assert done.exit_code == 0, done.output
    assert "rides[0]: offset 9 -> offset 9" in done.output
    assert "the other" not in done.output


def test_the_partitions_that_stay_are_told(monkeypatch, driver):
    several = TestDriver(totals(), partitions=3)
    several.stop()
    monkeypatch.setattr(app, "backends", lambda _: nullcontext(backend(several)))
    done = invoke("--partitions", "1")
    assert done.exit_code == 0, done.output
    assert "rides[1]: nothing committed -> offset 0" in done.output
    assert "the other 2 partitions stay as they are" in done.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "soon"), "--to 'soon' is neither an offset, nor a time, nor a place"),
        (("--to", "2026-13-01"), "--to '2026-13-01' is neither"),
        (("--to", ""), "--to '' is neither"),
        (("--partitions", ""), "--partitions '' are no partitions"),
        (("--partitions", "0-3"), "--partitions '0-3' are no partitions"),
        (("--partitions", "0,-1"), "--partitions '0,-1' are no partitions"),
        (("--partitions", "7"), "--partitions: rides[7] is not there"),
        (("--watermark", "soon"), "--watermark 'soon' is no time"),
        (("--watermark", "1200"), "--watermark '1200' is no time"),
        (("--watermark", "2026-08-01", "--to", "latest"), "exclude each other"),
        (("--watermark", "2026-08-01"), "totals has no watermark"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(driver, options, words):
    driver.stop()
    before = driver.committed()
    done = invoke("--yes", *options)
    assert done.exit_code == 2
    assert words in done.output
    assert driver.committed() == before


class TestWatermark:
    @pytest.fixture
    def ahead(self, driver, monkeypatch, tmp_path):
        (tmp_path / "reset_in_a_test.py").write_text(
            "from tests.topologies import windowed\ntopology = windowed()\n"
        )
        ahead = TestDriver(windowed(), partitions=3)
        ahead.feed([ride(5), ride(0) | {"t": "2096-01-01T00:00:00"}], partition=0)
        ahead.feed([ride(5)], partition=1)
        ahead.run()
        ahead.stop()
        monkeypatch.setattr(app, "reading", lambda _: ahead.log)
        monkeypatch.setattr(app, "backends", lambda _: nullcontext(backend(ahead)))
        return ahead

    def test_it_is_told_for_each_partition_and_nothing_happens_without_yes(self, ahead):
        before = ahead.committed()
        done = invoke("--watermark", "2024-01-01T01:00:00")
        assert done.exit_code == 0, done.output
        assert "rides[0]: watermark 2095-12-31T23:30:00 -> 2024-01-01T01:00:00" in done.output
        assert "rides[1]: watermark 2023-12-31T23:35:00 stays" in done.output
        assert "rides[2]: no event time was committed yet" in done.output
        assert "nothing was changed: --yes does it" in done.output
        assert ahead.committed() == before

    def test_yes_does_it_once(self, ahead):
        assert invoke("--watermark", "2024-01-01T01:00:00", "--yes").exit_code == 0
        after = ahead.committed()
        done = invoke("--watermark", "2024-01-01T01:00:00", "--yes")
        assert done.exit_code == 0
        assert "nothing is to be done" in done.output
        assert ahead.committed() == after
        ahead.restart()
        ahead.feed([ride(60)], partition=0)
        ahead.run()
        assert sum(report.late for report in ahead.reports) == 0

    def test_only_the_partitions_that_are_named_are_looked_at(self, ahead):
        before = ahead.committed()
        done = invoke("--watermark", "2024-01-01T01:00:00", "--yes", "--partitions", "1,2")
        assert "rides[0]" not in done.output
        assert "nothing is to be done" in done.output
        assert ahead.committed() == before


def test_the_embedded_log_has_nothing_to_reset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROCESSOR_BOOTSTRAP_SERVERS", raising=False)
    done = CliRunner().invoke(cli, ["reset", "topologies.uber.enrich"])
    assert done.exit_code == 2
    assert "--bootstrap-servers" in done.output
