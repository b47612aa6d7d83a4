from __future__ import annotations

import threading
from datetime import timedelta

import click
import orjson
import pytest

from processor import app
from processor.cli import demo
from processor.cli.outcome import Outcome, told
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.records import StoredMessage
from processor.connectors.memory.store import MemoryStore
from processor.errors import LogError, ProcessorError, RecordError, SettingsError
from processor.model.log import Output, TopicPartition
from processor.settings import Settings


def message(value, headers=None, topic="t", offset=0):
    return StoredMessage(topic, 0, offset, None, value, 0, headers)


def counted(cluster, hour, trips):
    start = f"2014-08-01T{hour:02}:00:00"
    return message(orjson.dumps({"cluster": cluster, "window_start": start, "trips": trips}))


TRIP = message(b'{"lat":40.7,"lon":-74.0,"cluster":0}')


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (b"Date/Time,Lat,Lon,Base", True),
        (b'"Date/Time","Lat","Lon","Base"', True),
        (b"dt, latitude, longitude, base", True),
        (b"2014-08-01 00:00:00,40.7,-73.9,B02598", False),
        (b"not a trip", False),
        (b"", False),
        (b"\xff,lat", False),
    ],
)
def test_what_a_header_is(line, header):
    assert demo.is_header(line) is header


def test_a_first_line_that_is_no_header_is_kept(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"bad\nworse\r\n\n")
    assert [line for chunk in demo._file(path) for line in chunk] == [b"bad", b"worse", b""]


def test_a_reader_gets_all_committed_records_and_none_besides():
    log = MemoryLog()
    log.create({"t": 3})
    producer = log.producer("p")
    producer.start(0)
    for commit in (True, False, True):
        producer.begin()
        keys = [b"%d" % i for i in range(50)]
        producer.produce(Output("t", [b"yes" if commit else b"no"] * 50, keys))
        (producer.commit if commit else producer.abort)(0)
    found = list(demo.records(log, "t"))
    assert [m.value() for m in found] == [b"yes"] * 100
    assert sorted(map(repr, found)) == sorted(map(repr, log.read("t")))


def test_a_reader_of_an_empty_topic_ends_at_once():
    log = MemoryLog()
    log.create({"t": 2})
    assert list(demo.records(log, "t")) == []


def test_a_reader_that_gets_nothing_ends_with_an_error(monkeypatch):
    monkeypatch.setattr(demo, "STALL_S", 0.0)
    log = MemoryLog()
    log.create({"t": 1})
    log.feed("t", [b"a"])
    monkeypatch.setattr("processor.connectors.memory.consumer.MemoryConsumer._read", lambda *_: [])
    monkeypatch.setattr("processor.connectors.memory.consumer.MemoryConsumer._ends", lambda *_: {})
    with pytest.raises(LogError, match="could not be read to its end"):
        list(demo.records(log, "t"))


def test_names_are_plain_where_all_is_embedded_and_of_one_run_elsewhere():
    assert demo._names(Settings())["trips"] == "trips"
    elsewhere = [
        Settings(bootstrap_servers="h:1"), Settings(redis_url="redis://h"), Settings(data_dir="d"),
    ]  # fmt: skip
    found = [demo._names(settings) for settings in elsewhere * 2]
    assert len({names["uber-enrich"] for names in found}) == 6
    assert all(names["trips"].startswith("demo-") for names in found)
    assert all(len({name.removesuffix(plain) for plain, name in names.items()}) == 1
               for names in found)  # fmt: skip


@pytest.fixture
def stages():
    """Makes both stages over a log and a store in memory."""
    started = []

    def make(plans, **settings):
        log = MemoryLog()
        used = app.Backends(log, MemoryStore(), "")
        chosen = Settings(interval=timedelta(0), create_topics=2, **settings)
        counts = app.prepare_topics(log, plans, chosen)
        stop = threading.Event()
        started.append(stop)
        return log, demo.Stages(plans, chosen, used, counts, stop), stop

    yield make
    for stop in started:
        stop.set()


PLAIN = demo._names(Settings())
LINE = b"2014-08-01 00:00:00,40.729,-73.9422,B02598"


@pytest.mark.parametrize("workers", [1, 2])
def test_both_stages_run_until_all_is_through(stages, workers):
    plans = demo._plans(PLAIN, demo._bundled())
    log, running, _ = stages(plans, workers=workers)
    with running.running():
        assert running.feed("trips", iter([[LINE] * 2500, [b"bad"]]), None) == 2501
        running.wait_for(plans[0], demo._ends(log, "trips"), "")
        enriched = list(demo.records(log, "trips-enriched", running.check))
        running.wait_for(plans[1], demo._behind(enriched), "")
    assert running.done == {"uber-enrich": 2501, "uber-popular": 2500}
    rows = [orjson.loads(m.value()) for m in demo.records(log, "popular-clusters")]
    assert rows[-1]["trips"] == 2500
    assert len(list(demo.records(log, "trips-dead-letters"))) == 1


def test_what_breaks_a_stage_is_raised_and_nothing_hangs(stages):
    plan = app.load_topology(demo.ENRICH, {"on_error": "fail"})
    log, running, stop = stages([plan])
    with pytest.raises(RecordError, match="cannot read the record"), running.running():
        running.feed("trips", iter([[LINE, b"bad"]]), None)
        running.wait_for(plan, demo._ends(log, "trips"), "")
    assert stop.is_set()


def test_what_breaks_a_stage_ends_slow_feeding_too(stages):
    plan = app.load_topology(demo.ENRICH, {"on_error": "fail"})
    _, running, _ = stages([plan])
    with pytest.raises(RecordError), running.running():
        running.feed("trips", iter([[b"bad"] * 1000]), 1.0)


def test_a_stop_is_an_error_that_says_so(stages):
    plans = demo._plans(PLAIN, demo._bundled())
    _, running, stop = stages(plans)
    stop.set()
    with pytest.raises(ProcessorError, match="stopped before"), running.running():
        running.feed("trips", iter([[LINE]]), None)


def test_a_stage_that_does_not_come_on_is_an_error(stages, monkeypatch):
    monkeypatch.setattr(demo, "STALL_S", 0.2)
    plans = demo._plans(PLAIN, demo._bundled())
    _, running, _ = stages(plans)
    with pytest.raises(LogError, match="uber-enrich has not come on"), running.running():
        running.wait_for(plans[0], {TopicPartition("trips", 0): 10**9}, "")


def test_an_input_that_cannot_be_read(tmp_path):
    wanted = demo.Wanted(tmp_path / "none", 0, 1, None, tmp_path, None)
    with pytest.raises(SettingsError, match="none cannot be read"):
        demo.demo(wanted, Settings())


# What came of it.


def test_the_last_count_of_a_cluster_and_window_is_the_right_one():
    popular = [counted(1, 5, 1), counted(0, 6, 2), counted(1, 5, 4)]
    rows = Outcome(0, [], popular, [], 0).counts()
    assert [(row["cluster"], row["trips"]) for row in rows] == [(1, 4), (0, 2)]


@pytest.mark.parametrize(
    ("outcome", "faults"),
    [
        (Outcome(0, [], [], [], 0), 0),
        (Outcome(3, [TRIP] * 2, [counted(0, 1, 2)], [message(b"")], 0), 0),
        (Outcome(2, [TRIP] * 2, [counted(0, 1, 1)], [], 1), 0),
        (Outcome(3, [TRIP] * 2, [counted(0, 1, 2)], [], 0), 1),
        (Outcome(2, [TRIP] * 2, [counted(0, 1, 3)], [], 0), 1),
        (Outcome(9, [TRIP] * 2, [], [], 0), 2),
    ],
)
def test_totals_are_checked(outcome, faults, tmp_path, capsys):
    assert len(outcome.faults()) == faults
    outcome.write(tmp_path, [(40.7, -74.0)])
    if faults:
        with pytest.raises(click.ClickException, match="do not add up") as raised:
            outcome.tell([(40.7, -74.0)], tmp_path, 1.0)
        assert raised.value.exit_code == 1
    else:
        outcome.tell([(40.7, -74.0)], tmp_path, 1.0)
    assert f"read {outcome.read} = enriched" in capsys.readouterr().out


def test_files_that_cannot_be_written(tmp_path):
    with pytest.raises(SettingsError, match="cannot be written"):
        Outcome(0, [], [], [], 0).write(tmp_path / "none", [])


def test_a_dead_letter_tells_origin_error_and_text():
    headers = [
        ("processor.topic", b"trips"), ("processor.partition", b"3"), ("processor.offset", b"9"),
        ("processor.stage", b"app/decode"), ("processor.error", b"no time"),
    ]  # fmt: skip
    expected = {"topic": "trips", "partition": 3, "offset": 9, "stage": "app/decode",
                "error": "no time"}  # fmt: skip
    assert told(message("é".encode(), headers)) == {**expected, "text": "é"}
    assert told(message(b"\xff", headers)) == {**expected, "base64": "/w=="}
    assert told(message(None, headers)) == {**expected, "text": None}


def test_a_dead_letter_with_headers_of_any_bytes_is_told():
    headers = [
        ("of the producer", b"\xff"), ("of nobody", None), ("processor.topic", b"trips"),
        ("processor.error", b"quoted: \xff"), ("processor.offset", b"none"),
    ]  # fmt: skip
    letter = told(message(b"x", headers))
    assert (letter["topic"], letter["error"]) == ("trips", "quoted: \\xff")
    assert (letter["partition"], letter["offset"]) == (-1, -1)
