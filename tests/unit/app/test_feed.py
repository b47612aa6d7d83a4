from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from processor import Arrow, Bytes, Csv, Json, Text, Topology
from processor import functions as F
from processor.app.feed import feed, records
from processor.app.topics import prepare_topics
from processor.connectors.memory.broker import Broker
from processor.connectors.memory.log import MemoryLog
from processor.connectors.partitioner import partition
from processor.connectors.sqlite.log import SqliteLog
from processor.errors import SettingsError
from processor.settings import Settings
from processor.testing import TestDriver

ROOT = Path(__file__).parents[3]

SALE = Csv({"product": pl.String, "n": pl.Int64, "note": pl.String})


def plan(form=SALE, by=("product",), app="sales"):
    topology = Topology(app)
    rows = topology.read.kafka("in", format=form, partitioned_by=by)
    rows.select(next(iter(form.columns))).write.kafka(f"{app}-out")
    return topology.plan()


def fed(tmp_path, text: bytes, *plans, partitions=4):
    log = MemoryLog()
    log.create({"in": partitions})
    path = tmp_path / "rows"
    path.write_bytes(text)
    feed(log, plans or (plan(),), "in", path)
    return log.read("in")


def test_a_record_has_the_key_s_text_and_lies_where_kafka_s_clients_would_put_it(tmp_path) -> None:
    lines = b"".join(b"p%d,%d,x\n" % (i % 9, i) for i in range(25_000))
    found = fed(tmp_path, lines)
    assert len(found) == 25_000
    for message in found:
        assert message.key() == message.value().split(b",")[0]
        assert message.partition() == partition(message.key(), 4)
    assert {message.partition() for message in found} == {0, 1, 2, 3}
    for product in range(9):
        numbers = [int(m.value().split(b",")[1]) for m in found if m.key() == b"p%d" % product]
        assert numbers == sorted(numbers)


def test_each_group_has_one_sum(tmp_path) -> None:
    topology = Topology("sums")
    sales = topology.read.kafka("in", format=SALE, partitioned_by="product")
    sales.group_by("product").agg(n=F.sum("n")).write.kafka("out", key="product", mode="update")
    driver = TestDriver(topology, partitions=4)
    (tmp_path / "rows").write_bytes(b"".join(b"p%d,1,x\n" % (i % 5) for i in range(5_000)))
    feed(driver.log, [driver.plan], "in", tmp_path / "rows")
    driver.run()
    last = {row["product"]: row["n"] for row in driver.json("out")}
    assert last == {f"p{i}": 1_000 for i in range(5)}


def test_without_a_declared_key_all_records_keep_the_order_of_the_file(tmp_path) -> None:
    found = fed(tmp_path, b"".join(b"%d\n" % i for i in range(25_000)), plan(Text(), by=()))
    assert [(m.partition(), m.key(), int(m.value())) for m in found] == [
        (0, None, i) for i in range(25_000)
    ]


def test_the_key_is_the_column_s_value_not_what_the_file_says_of_it(tmp_path) -> None:
    form = Json({"n": pl.Int64})
    found = fed(tmp_path, b'{"n":6}\n{"n": 6 }\nbad\n', plan(form, "n"), partitions=1)
    assert [message.key() for message in found] == [b"6", b"6", None]


def test_several_columns_make_one_key(tmp_path) -> None:
    found = fed(tmp_path, b"a,1,x\na,1,y\nb,1,x\n", plan(by=("product", "n")))
    assert sorted(message.key() for message in found) == [b"a,1", b"a,1", b"b,1"]


def test_what_quotes_make_one_record_stays_one(tmp_path) -> None:
    text = b'\xef\xbb\xbfa,1,"two\r\nlines, ""quoted"""\r\nb,2,"x\ny\n\nz"\nc,3,5" pipe\nd,4,e\n'
    found = fed(tmp_path, text, partitions=1)
    assert [message.value() for message in found] == [
        b'a,1,"two\r\nlines, ""quoted"""', b'b,2,"x\ny\n\nz"', b'c,3,5" pipe', b"d,4,e",
    ]  # fmt: skip
    assert [message.key() for message in found] == [b"a", b"b", b"c", b"d"]


def test_a_quote_that_is_never_closed_spoils_its_own_line_only() -> None:
    text = b'a,1,"open\nb,2,x\n' + b"c,3,y\n" * 50_000
    found = list(records(text, SALE))
    assert (len(found), found[:2]) == (50_002, [b'a,1,"open', b"b,2,x"])


@pytest.mark.parametrize("form", [Text(), Json({"s": pl.String})])
def test_quotes_mean_nothing_where_the_format_has_none(form) -> None:
    assert list(records(b'say "a\nb"\r\nc', form)) == [b'say "a', b'b"', b"c"]


def test_an_empty_file_feeds_nothing(tmp_path) -> None:
    assert fed(tmp_path, b"") == []
    assert list(records(b"\xef\xbb\xbf", Text())) == []
    assert list(records(b"a\n\nb", Text())) == [b"a", b"", b"b"]


def test_a_topic_that_nobody_reads_is_not_fed(tmp_path) -> None:
    with pytest.raises(SettingsError, match="no topology that is run reads 'out'") as raised:
        feed(MemoryLog(), [plan()], "out", tmp_path)
    assert raised.value.remedy == "they read in"


def test_a_topic_has_one_key(tmp_path) -> None:
    plans = [plan(), plan(by="n", app="others")]
    with pytest.raises(SettingsError, match=r"partitioned by product at .* and by n at"):
        fed(tmp_path, b"", *plans)
    assert fed(tmp_path, b"a,1,x\n", plan(by=(), app="plain"), plan())[0].key() == b"a"


def test_a_file_begins_with_the_header_that_its_format_tells_of(tmp_path) -> None:
    form = Csv({"product": pl.String, "n": pl.Int64}, separator=";", header=True)
    for head in (b"product;n\n", b'\xef\xbb\xbf"product";n\r\n'):
        found = fed(tmp_path, head + b"a;1\nb;2\n", plan(form))
        assert sorted(message.value() for message in found) == [b"a;1", b"b;2"]
    with pytest.raises(
        SettingsError, match="begins with 'a;1', which is not the header 'product;n'"
    ):
        fed(tmp_path, b"a;1\nproduct;n\n", plan(form))
    assert fed(tmp_path, b"", plan(form)) == []


def test_line_breaks_inside_of_another_quote_are_part_of_a_record(tmp_path) -> None:
    form = Csv({"product": pl.String, "s": pl.String}, quote="'")
    assert list(records(b"a,'x\ny'\nb,\"z\n", form)) == [b"a,'x\ny'", b'b,"z']
    bare = Csv({"product": pl.String, "s": pl.String}, quote=None)
    assert list(records(b'a,"x\nb,z"\n', bare)) == [b'a,"x', b'b,z"']


def test_a_topic_that_is_keyed_by_its_records_own_keys_is_refused(tmp_path) -> None:
    topology = Topology("cities")
    rows = topology.read.kafka("in", format=SALE, key="city", partitioned_by="city")
    rows.group_by("city").agg(n=F.sum("n")).write.kafka("out", key="city", mode="update")
    with pytest.raises(SettingsError, match=r"its records' own keys \(city\)"):
        fed(tmp_path, b"a,1,x\n", topology.plan())


@pytest.mark.parametrize(
    ("by", "asked", "count"), [((), None, 1), ((), 3, 3), (("product",), None, 4)]
)
def test_a_topic_that_is_fed_without_keys_has_no_partition_that_stays_empty(by, asked, count):
    log, made = MemoryLog(), plan(by=by)
    settings = Settings(**({} if asked is None else {"create_topics": asked}))
    assert prepare_topics(log, [made], settings, {"in": "file"}) == {"sales": count}
    assert len(log.describe(["sales-out"])["sales-out"].extents) == (asked or 4)


def test_a_file_goes_through_a_carried_watermark(tmp_path) -> None:
    """Windows of the second topology close, though only one partition of the input was fed."""
    path = tmp_path / "clicks.jsonl"
    path.write_text("".join(
        json.dumps({"at": f"2026-05-01 {i // 60:02}:{i % 60:02}:00", "user": f"u{i % 7}"}) + "\n"
        for i in range(600)
    ))  # fmt: skip
    (tmp_path / "clean.py").write_text(CLEAN)
    (tmp_path / "hours.py").write_text(HOURS)
    command = [sys.executable, "-m", "processor", "run", "./clean.py", "./hours.py",
               "--feed", f"clicks={path}", "--until-caught-up"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) >= 7 * 8


CLEAN = """
import polars as pl
from processor import Json, Topology

topology = Topology("clean")
form = Json({"at": pl.Datetime("us"), "user": pl.String})
rows = topology.read.kafka("clicks", format=form, event_time="at").with_watermark("1 minute")
rows.write.kafka("by-user", key="user", watermark="carried")
"""
HOURS = """
import polars as pl
from processor import Json, Topology, functions as F

topology = Topology("hours")
form = Json({"at": pl.Datetime("us"), "user": pl.String})
rows = topology.read.kafka(
    "by-user", format=form, event_time="at", partitioned_by="user", watermark="carried"
)
hours = rows.with_watermark("1 minute").group_by(F.window("at", "1 hour"), "user")
hours.agg(n=F.count()).write.console()
"""


def test_the_rows_of_a_file_of_arrow_go_by_the_topics_key(tmp_path):
    form = Arrow({"user": pl.String, "n": pl.Int64})
    topology = Topology("arrow")
    rows = topology.read.kafka("clicks", format=form, partitioned_by="user")
    rows.group_by("user").agg(n=F.sum("n")).write.kafka("out", key="user", mode="update")
    frame = pl.DataFrame({"user": ["a", "b", "a", "c"], "n": [1, 2, 3, 4]})
    ((_, value),) = form.pack(frame)
    path = tmp_path / "clicks.arrow"
    path.write_bytes(value)
    driver = TestDriver(topology, partitions=4)
    feed(driver.log, [driver.plan], "clicks", path)
    found = {
        message.key(): form.decode([message.value()]).frame["n"].to_list()
        for message in driver.read("clicks")
    }
    assert found == {b"a": [1, 3], b"b": [2], b"c": [4]}
    driver.run()
    assert {row["user"]: row["n"] for row in driver.json("out")} == {"a": 4, "b": 2, "c": 4}


CSV = b"".join(b"p%d,%d,x\n" % (i, i) for i in range(30))


@pytest.mark.parametrize(
    ("form", "text", "words"),
    [
        (Json({"n": pl.Int64}), CSV, ["none of the first 20 records can be read as json",
                                      "no JSON", "they look like csv(c1 String, c2 Int64"]),
        (SALE, b'{"n":1}\n' * 30, ["read as csv", "they look like json(n Int64)"]),
        (Json({"n": pl.Int64}), b'{"n":"a"}\n' * 30, ["'a' is no Int64", "json(n String)"]),
        (SALE, b"one line of text\n" * 12, ["none of the first 12", "they look like text"]),
        (Json({"n": pl.Int64}), b"\xff\xfd\n" * 30, ["they are no text"]),
    ],
)  # fmt: skip
def test_a_file_of_another_format_is_refused_before_it_is_fed(tmp_path, form, text, words) -> None:
    log = MemoryLog()
    log.create({"in": 1})
    (tmp_path / "rows").write_bytes(text)
    with pytest.raises(SettingsError) as refused:
        feed(log, [plan(form, by=())], "in", tmp_path / "rows")
    for word in (*words, "--feed in=", "test_feed.py:"):
        assert word in refused.value.message
    assert "correct the format there" in refused.value.remedy
    assert log.read("in") == []


@pytest.mark.parametrize(
    ("begin", "told", "remedy"),
    [
        (gzip.compress(CSV), "compressed by gzip", "gunzip"),
        (bz2.compress(CSV), "compressed by bzip2", "bunzip2"),
        (lzma.compress(CSV), "compressed by xz", "unxz"),
        (b"PK\x03\x04", "a zip archive", "CSV"), (b"PAR1", "a Parquet file", "write_ndjson"),
        (b"Obj\x01", "an Avro file", "read as Avro"), (b"ARROW1\0\0", "an Arrow file", "Arrow"),
        ("a,1".encode("utf-16"), "of UTF-16", "iconv"),
    ],
)  # fmt: skip
def test_a_file_that_has_no_lines_is_told_by_what_it_is(tmp_path, begin, told, remedy) -> None:
    with pytest.raises(SettingsError, match=f"the file is {told}") as refused:
        fed(tmp_path, begin)
    assert remedy in refused.value.remedy


def test_a_file_with_some_that_can_be_read_and_one_of_a_few_records_are_fed(tmp_path) -> None:
    form = Json({"n": pl.Int64})
    assert len(fed(tmp_path, b"bad\n" * 19 + b'{"n":1}\n' + b"bad\n" * 9, plan(form, by=()))) == 29
    assert len(fed(tmp_path, b"bad\n" * 9, plan(form, by=()))) == 9
    assert len(fed(tmp_path, b"\x1f\x8b\n" * 30, plan(Bytes(), by=()))) == 30


def test_a_kept_log_is_fed_a_file_once_and_another_one_too(tmp_path):
    log = SqliteLog(tmp_path / "data")
    log.create({"in": 4})
    path = tmp_path / "rows"
    path.write_bytes(b"apple,1,a\npear,2,b\n")
    assert feed(log, [plan()], "in", path, once=True)
    log.close()
    log = SqliteLog(tmp_path / "data")
    assert not feed(log, [plan()], "in", path, once=True)
    assert sorted(m.value() for m in log.read("in")) == [b"apple,1,a", b"pear,2,b"]
    path.write_bytes(b"plum,3,c\n")
    assert feed(log, [plan()], "in", path, once=True)
    assert len(log.read("in")) == 3
    log.make_anew("in")  # it has nothing of the file now
    assert feed(log, [plan()], "in", path, once=True)
    assert len(log.read("in")) == 1
    log.close()


def test_of_a_file_that_is_fed_once_there_is_all_or_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["processor.app.feed"], "_CHUNK", 2)
    log = SqliteLog(tmp_path / "data")
    log.create({"in": 1})
    path = tmp_path / "rows"
    path.write_bytes(b"".join(b"p,%d,x\n" % n for n in range(7)))
    append, given = Broker.append, []

    def dying(self, topic, columns, *rest):
        given.append(len(columns.values))
        if len(given) == 4:
            raise KeyboardInterrupt
        append(self, topic, columns, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Broker, "append", dying)
        feed(log, [plan()], "in", path, once=True)
    log.close()
    log = SqliteLog(tmp_path / "data")
    assert log.read("in") == []
    assert feed(log, [plan()], "in", path, once=True)
    assert len(log.read("in")) == 7
    log.close()
