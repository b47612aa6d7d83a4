"""What a run that Python has started does, and how it ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

import polars as pl
import pytest
import structlog

import processor
from processor import Json, Text, Topology
from processor.connectors.sqlite.log import SqliteLog
from processor.errors import (
    ProcessorError,
    QueryError,
    RecordError,
    SettingsError,
    ShutdownError,
    TopologyError,
)

LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """A test in an empty place, whose queries are all stopped behind it; the log is not set up."""
    monkeypatch.chdir(tmp_path)
    structlog.reset_defaults()
    # A shell that starts tests in the background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever other tests have left
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGTERM, ended)
    structlog.reset_defaults()
    left = processor.active()
    for query in left:
        query.stop()
    assert processor.active() == ()


def copy(app="copy", source="in", to="out", compute=None, on_error="fail"):
    topology = Topology(app)
    rows = topology.read.kafka(source, format=Json({"n": pl.Int64}), on_error=on_error)
    if compute is not None:
        rows = rows.with_columns(m=pl.col("n").map_elements(compute, return_dtype=pl.Int64))
    rows.write.kafka(to)
    return topology


def rows(*numbers):
    return [{"n": number} for number in numbers]


class Seen:
    """Hears of batches, so that a test can wait for one."""

    def __init__(self):
        self.batches = []
        self.one = threading.Event()

    def __call__(self, report):
        self.batches.append(report)
        self.one.set()

    def wait(self):
        assert self.one.wait(LIMIT_S)


# What it tells.


def test_a_query_is_active_until_it_is_stopped_and_tells_its_batches():
    seen = Seen()
    query = copy().start(feed={"in": rows(1, 2, 3)}, on_progress=seen)
    seen.wait()
    assert (query.name, query.is_active, query.status.state) == ("copy", True, "running")
    assert query.await_termination(timeout=0) is False
    assert query.await_termination(timeout=float("nan")) is False
    assert query.last_progress == seen.batches[-1]
    assert sum(batch.records_in for batch in query.recent_progress) == 3
    assert processor.active() == (query,)
    query.stop()
    assert (query.is_active, query.status.state, query.exception) == (False, "stopped", None)
    assert query.await_termination() is True
    assert repr(query) == "<query copy: stopped>"


def test_before_the_first_batch_there_is_no_progress():
    with copy().start() as query:
        assert (query.last_progress, query.recent_progress) == (None, ())


def test_no_two_starts_have_one_run_id():
    first = copy().start(feed={"in": rows(1)}, until_caught_up=True)
    first.await_termination(LIMIT_S)
    second = copy().start(feed={"in": rows(1)}, until_caught_up=True)
    assert second.run_id != first.run_id
    assert second.await_termination(LIMIT_S)


def test_a_run_until_it_has_caught_up_ends_by_itself():
    query = copy().start(feed={"in": rows(*range(100))}, until_caught_up=True, workers=2)
    assert query.await_termination(LIMIT_S) is True
    assert sum(batch.records_in for batch in query.recent_progress) == 100


def test_what_another_system_calls_a_query_s_parts_is_told_with_ours():
    with copy().start() as query:
        for name, ours in (("isActive", "is_active"), ("processAllAvailable", "until_caught_up")):
            with pytest.raises(AttributeError) as raised:
                getattr(query, name)
            assert ours in raised.value.remedy
            assert str(raised.value).startswith(f"{__file__}:")


# Several, and one after the other.


def test_two_topologies_of_one_query_share_a_log():
    seen = Seen()
    query = processor.start(
        copy(), copy("again", "out", "end"), feed={"in": rows(1, 2)}, until_caught_up=True,
        on_progress=seen,
    )  # fmt: skip
    assert query.name == "copy, again"
    assert query.await_termination(LIMIT_S)
    read = {app: sum(b.records_in for b in seen.batches if b.topology == app)
            for app in ("copy", "again")}  # fmt: skip
    assert read == {"copy": 2, "again": 2}


def test_a_topology_that_is_at_work_is_not_started_again_before_it_is_stopped():
    topology = copy()
    query = topology.start()
    with pytest.raises(SettingsError, match="copy is already at work in this process") as raised:
        topology.start()
    assert "query.stop()" in raised.value.remedy
    assert query.is_active
    query.stop()
    topology.start().stop()


def test_another_application_runs_beside_it():
    with copy().start() as one, copy("other").start() as other:
        assert processor.active() == (one, other)


# Stopping.


def test_a_second_stop_does_nothing():
    query = copy().start()
    query.stop()
    query.stop()
    assert query.status.state == "stopped"


def test_a_query_is_stopped_by_what_hears_of_its_batches():
    box = []
    there = threading.Event()

    def enough(_):
        assert there.wait(LIMIT_S)
        box[0].stop()

    box.append(copy().start(feed={"in": rows(1)}, on_progress=enough))
    there.set()
    assert box[0].await_termination(LIMIT_S) is True
    assert box[0].status.state == "stopped"


def test_a_feeders_thread_may_stop_its_query():
    box, there = [], threading.Event()

    def enough(report):
        if "feed" in report.topology:
            assert there.wait(LIMIT_S)
            box[0].stop()

    topology = Topology("ticks")
    topology.read.rate(rows_per_second=100).write.memory("ticks")
    box.append(topology.start(on_progress=enough))
    there.set()
    assert box[0].await_termination(LIMIT_S) is True
    assert box[0].status.state == "stopped"


def test_a_query_cannot_wait_for_itself():
    box, there = [], threading.Event()

    def wait(_):
        assert there.wait(LIMIT_S)
        box[0].await_termination()

    box.append(copy().start(feed={"in": rows(1)}, on_progress=wait))
    there.set()
    with pytest.raises(QueryError, match="cannot wait for itself"):
        box[0].await_termination(LIMIT_S)


def test_the_end_of_a_with_block_stops_it():
    with copy().start() as query:
        assert query.is_active
    assert query.status.state == "stopped"


def test_what_is_raised_in_a_with_block_goes_on_and_the_query_is_stopped():
    with pytest.raises(ValueError, match="mine"), copy().start() as query:
        raise ValueError("mine")
    assert query.status.state == "stopped"


def test_several_threads_wait_and_all_hear_of_the_end():
    query = copy().start()
    ended = []
    waiting = [threading.Thread(target=lambda: ended.append(query.await_termination(LIMIT_S)))
               for _ in range(3)]  # fmt: skip
    for thread in waiting:
        thread.start()
    query.stop()
    for thread in waiting:
        thread.join(LIMIT_S)
    assert ended == [True, True, True]


def test_a_query_runs_on_when_the_thread_that_started_it_has_ended():
    seen, box = Seen(), []
    feed = {"in": rows(1)}
    thread = threading.Thread(target=lambda: box.append(copy().start(feed=feed, on_progress=seen)))
    thread.start()
    thread.join(LIMIT_S)
    seen.wait()
    assert box[0].is_active
    box[0].stop()
    assert box[0].exception is None


# Errors.


def test_an_error_of_a_worker_arrives_with_the_topology_s_name():
    query = copy().start(feed={"in": ["bad"]})
    with pytest.raises(QueryError, match=r"^copy: in\[0\] offset 0: ") as raised:
        query.await_termination(LIMIT_S)
    assert raised.value.topology == "copy"
    assert isinstance(raised.value.__cause__, RecordError)
    assert raised.value.remedy == raised.value.__cause__.remedy
    assert (query.is_active, query.status.state) == (False, "failed")
    assert query.status.message == query.exception.message
    with pytest.raises(QueryError):  # whoever asks hears of it
        query.await_termination(LIMIT_S)
    query.stop()  # ended is ended


def test_of_several_topologies_the_one_that_failed_is_named():
    query = processor.start(copy(), copy("other", "else", "end"), feed={"else": ["bad"]})
    with pytest.raises(QueryError) as raised:
        query.await_termination(LIMIT_S)
    assert raised.value.topology == "other"


def test_a_fault_in_a_user_s_function_arrives_as_it_is():
    def hears(_):
        raise KeyError("mine")

    query = copy().start(feed={"in": rows(1)}, on_progress=hears)
    with pytest.raises(QueryError, match="copy: on_progress raised KeyError: 'mine'") as raised:
        query.await_termination(LIMIT_S)
    assert isinstance(raised.value.__cause__.__cause__, KeyError)


def test_a_failure_that_nobody_waits_for_is_logged(caplog):
    with caplog.at_level(logging.ERROR, "processor"):
        copy().start(feed={"in": ["bad"]})
        for thread in threading.enumerate():
            if thread.name == "query copy":
                thread.join(LIMIT_S)
    assert [r.levelname for r in caplog.records if "query failed" in r.getMessage()] == ["ERROR"]


def test_a_with_block_does_not_end_in_silence_where_the_query_has_failed():
    gone = threading.Event()

    def compute(_):
        gone.set()
        raise ValueError("mine")

    with pytest.raises(QueryError, match="copy"), copy(compute=compute).start(feed={"in": rows(1)}):
        assert gone.wait(LIMIT_S)


def test_a_worker_that_does_not_stop_in_its_time_is_left_behind_and_the_process_lives():
    inside, gate = threading.Event(), threading.Event()

    def compute(n):
        inside.set()
        gate.wait(LIMIT_S)
        return n

    query = copy(compute=compute).start(feed={"in": rows(1)}, shutdown_timeout="50ms")
    assert inside.wait(LIMIT_S)
    try:
        with pytest.raises(QueryError, match=r"copy.*told to stop, and not done") as raised:
            query.stop()
        assert isinstance(raised.value.__cause__, ShutdownError)
        assert query.status.state == "failed"
    finally:
        gate.set()
        for thread in threading.enumerate():
            if thread.name == "copy-0":
                thread.join(LIMIT_S)


# What start refuses.


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workers": 0}, "workers = 0: input should be greater"),
        ({"wrokers": 2}, "wrokers: there is no such setting; did you mean workers?"),
        ({"interval": "soon"}, "interval = 'soon': "),
        ({"kafka": {"enable.idempotence": False}}, "kafka.'enable.idempotence'.=false is not"),
        ({"log_level": "debug"}, "log_level: the log is set up by the program"),
        ({"feed": {"in": []}, "bootstrap_servers": "h:1"}, "feed= is for the embedded log"),
        ({"print": True, "bootstrap_servers": "h:1"}, "print= is for the embedded log"),
        ({"feed": {"in": "/none"}}, "in=/none: No such file"),
        ({"feed": {"in": [3.5]}}, "3.5 is no record"),
        ({"feed": {"elsewhere": []}}, "no topology that is run reads 'elsewhere'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(given, words):
    with pytest.raises(SettingsError, match=words):
        copy().start(**given)
    assert processor.active() == ()


def test_a_parameter_that_no_topology_has_is_refused():
    with pytest.raises(TopologyError, match="no topology here has a parameter 'window'"):
        copy().start(set={"window": "1 hour"})


def test_what_is_no_topology_is_refused():
    with pytest.raises(TopologyError, match=r"'my.module' is no topology"):
        processor.start("my.module")
    with pytest.raises(TopologyError, match="no topology to run"):
        processor.start()


def test_settings_come_from_the_environment_and_the_file_too(monkeypatch, tmp_path):
    (tmp_path / "processor.toml").write_text("until-caught-up = true\n")
    query = copy().start(feed={"in": rows(1)})
    assert query.await_termination(LIMIT_S)
    monkeypatch.setenv("PROCESSOR_WORKERS", "none")
    with pytest.raises(SettingsError, match="PROCESSOR_WORKERS = 'none'"):
        copy().start()


def test_a_definition_is_started_with_its_parameters():
    @Topology.define
    def made(*, app: str = "made", source: str = "in") -> Topology:
        return copy(app, source)

    with made.start(set={"source": "elsewhere"}, feed={"elsewhere": rows(1)}) as query:
        assert query.name == "made"


def test_a_server_that_is_away_is_waited_for_and_the_status_says_so(monkeypatch):
    monkeypatch.setattr(sys.modules["processor.app.backends"], "RETRY_RUNNING_S", 0.0)
    query = copy().start(redis_url="redis://127.0.0.1:1", give_up_after="1 minute")
    assert query.status.state == "waiting"
    assert "127.0.0.1:1" in query.status.message
    query.stop()
    assert query.status.state == "stopped"


def test_a_server_that_stays_away_ends_the_query(monkeypatch):
    monkeypatch.setattr(sys.modules["processor.app.backends"], "RETRY_RUNNING_S", 0.0)
    query = copy().start(redis_url="redis://127.0.0.1:1", give_up_after="0.6")
    with pytest.raises(QueryError, match="given up after"):
        query.await_termination(LIMIT_S)


# The process is the user's.


def test_the_collector_and_the_signals_stay_as_they_are():
    import gc

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    seen = Seen()
    with copy().start(feed={"in": rows(1)}, on_progress=seen) as query:
        seen.wait()
        assert gc.isenabled()
        assert query.await_termination(0) is False
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_stops_what_is_awaited_and_goes_on(number, kind):
    seen = Seen()

    def interrupt():
        seen.wait()
        os.kill(os.getpid(), number)

    query = copy().start(feed={"in": rows(1)}, on_progress=seen)
    thread = threading.Thread(target=interrupt)
    with pytest.raises(kind):
        thread.start()
        query.await_termination(LIMIT_S)
    thread.join(LIMIT_S)
    assert query.status.state == "stopped"


def test_an_interrupt_while_it_starts_leaves_nothing_at_work():
    entered, gate = threading.Event(), threading.Event()

    def slow():
        entered.set()
        assert gate.wait(LIMIT_S)
        yield {"n": 1}

    def interrupt():
        assert entered.wait(LIMIT_S)
        os.kill(os.getpid(), signal.SIGINT)
        gate.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        copy().start(feed={"in": slow()})
    thread.join(LIMIT_S)
    assert processor.active() == ()


def test_a_handler_of_the_program_s_own_hears_the_signal():
    heard = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: heard.set())
    try:
        with copy().start() as query:
            assert query.await_termination(0) is False
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard.wait(LIMIT_S)
            assert query.await_termination(0) is False
            assert query.is_active
    finally:
        signal.signal(signal.SIGTERM, before)


def test_rows_for_the_console_are_shown(capsys):
    topology = Topology("shown")
    topology.read.kafka("in", format=Text()).write.console(format=Text())
    query = topology.start(feed={"in": ["one", "two"]}, until_caught_up=True)
    query.await_termination(LIMIT_S)
    told = capsys.readouterr()
    assert told.out.splitlines() == ["one", "two"]
    assert told.err == ""


def test_all_that_is_published_is_shown_where_that_was_asked_for(capsys):
    query = copy().start(feed={"in": rows(1)}, until_caught_up=True, print=True)
    query.await_termination(LIMIT_S)
    assert capsys.readouterr().out == 'out\t-\t{"n":1}\n'


def test_a_query_of_another_process_is_not_at_work_here(monkeypatch):
    with copy().start() as query:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1)
            assert query.is_active is False
            for call in (query.stop, query.await_termination):
                with pytest.raises(ProcessorError, match="this is a fork of it"):
                    call()
        assert query.is_active


def test_what_a_run_in_python_keeps_on_disk_the_next_one_goes_on_from(tmp_path):
    place = tmp_path / "data"
    for fed in (rows(1, 2), rows(1, 2), rows(3)):
        with copy().start(feed={"in": fed}, data_dir=place, until_caught_up=True) as query:
            query.await_termination(LIMIT_S)
    log = SqliteLog(place)
    # Values that were fed before are there already.
    assert sorted(m.value() for m in log.read("out")) == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    log.close()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"feed": [{"n": 1}]}, "names no topic"),
        ({"feed": "in"}, "names no topic"),
        ({"feed": {"in": {"n": 1}}}, "is one record, and no list"),
        ({"on_progress": 5}, "on_progress=5 is no function"),
    ],
)
def test_what_cannot_be_fed_or_called_is_told_before_anything_starts(given, words):
    with pytest.raises(SettingsError, match=words) as caught:
        copy().start(**given)
    assert caught.value.remedy
    if "feed" in given:
        with pytest.raises(SettingsError, match=words):
            copy().collect(**given)


def test_an_interrupt_out_of_the_column_engine_stops_and_is_no_failure():
    def interrupted(n):
        raise KeyboardInterrupt

    query = copy(compute=interrupted).start(feed={"in": rows(1)})
    assert query.await_termination(LIMIT_S)
    assert query.exception is None


def test_settings_of_the_client_are_looked_at_where_the_log_is_embedded_too():
    with pytest.raises(ProcessorError, match="linger"):
        copy().collect(feed={"in": rows(1)}, kafka={"linger.mss": "5"})
