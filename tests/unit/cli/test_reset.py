"""The command around it: told first, done with --yes."""

from __future__ import annotations

import sys
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from processor import app
from processor.cli.main import cli
from processor.testing import TestDriver
from tests.topologies import ride, totals


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

    @contextmanager
    def backends(_):
        yield app.Backends(driver.log, driver.store, "in memory")

    monkeypatch.setattr(app, "reading", lambda _: driver.log)
    monkeypatch.setattr(app, "backends", backends)
    yield driver
    sys.modules.pop("reset_in_a_test", None)


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


def test_a_live_group_is_refused(driver):
    done = invoke("--yes")
    assert done.exit_code == 2
    assert "is at work" in done.output


def test_the_embedded_log_has_nothing_to_reset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROCESSOR_BOOTSTRAP_SERVERS", raising=False)
    done = CliRunner().invoke(cli, ["reset", "topologies.uber.enrich"])
    assert done.exit_code == 2
    assert "--bootstrap-servers" in done.output
