"""What is said wrongly of a feed is refused at its line."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Csv, Json, Parquet, Queue, Registered, Text, Topology, TopologyError
from processor.plan.describe import describe
from processor.plan.fingerprint import fingerprint, identity
from processor.plan.graph import as_json, as_mermaid
from processor.testing import TestDriver

FORM = Csv({"a": pl.String})


def read() -> Any:
    return Topology("app").read


def files(path: Any = "in", **options: Any) -> Any:
    return read().files(path, **{"format": FORM, **options})


WRONG: list[tuple[Any, str, str]] = [
    (lambda: files(""), "the path is ''", "name a folder"),
    (lambda: files(7), "the path is 7", "name a folder"),
    (lambda: files("in/*.csv"), "is a pattern", "pattern='*.csv'"),
    (lambda: files(format=Csv), "format is the class Csv", "make one"),
    (lambda: files(pattern=""), "no file's name", "*.csv"),
    (lambda: files(pattern=3), "pattern is 3", "*.csv"),
    (lambda: files(max_files_per_trigger=0), "max_files_per_trigger is 0", "give a number"),
    (lambda: files(partitions=0), "partitions is 0", "give a number"),
    (lambda: files(partitions=10**6), "1000000 partitions", "1000 at most"),
    (lambda: files(latest_first="no"), "latest_first='no'", "latest_first=True"),
    (lambda: files(recursive=1), "recursive=1", "recursive=True"),
    (lambda: files(clean_source="off"), "clean_source='off'", '"archive"'),
    (lambda: files(clean_source="archive"), "do not go together", "archive="),
    (lambda: files(archive="x"), "do not go together", "archive="),
    (lambda: files(clean_source="archive", archive="in"), "would lie in in", "outside"),
    (lambda: files(clean_source="archive", archive="in/x", recursive=True), "would lie", "outside"),
    (lambda: files(name="a b"), "cannot be called 'a b'", "letters"),
    (lambda: files(name=7), "name is 7", "give a text"),
    (lambda: files(file=7), "file is 7", 'file="file"'),
    (lambda: files(on_error="ignore"), "on_error='ignore'", "dead_letter"),
    (lambda: files(dead_letters=7), "dead_letters is 7", "topic's name"),
    (lambda: files(maxFilesPerTrigger=1), "maxFilesPerTrigger", "max_files_per_trigger=1"),
    (lambda: files(cleanSource="delete"), "cleanSource", "clean_source="),
    (lambda: read().files("in"), "missing a required argument: 'format'", "read.files("),
    (lambda: read().kafka("in", format=Parquet({"a": pl.String})), "no record", "read.files"),
    (lambda: read().socket("h", 0), "the port is 0", "1 to 65535"),
    (lambda: read().socket("h", port=True), "the port is True", "1 to 65535"),
    (lambda: read().socket(1, 1), "the host is 1", "read.socket("),
    (lambda: read().rate(0), "rows_per_second is 0", "above 0"),
    (lambda: read().rate(float("nan")), "rows_per_second is nan", "above 0"),
    (lambda: read().rate(1, rows=0), "rows is 0", "give a number"),
    (lambda: read().rate(rowsPerSecond=3), "rowsPerSecond", "rows_per_second=10"),
    (lambda: read().queue([1], format=FORM), "the queue is [1]", "queue = Queue()"),
    (lambda: read().receiver(Queue, format=FORM), "the receiver is the class Queue", "read("),
    (lambda: read().receiver(object(), format=FORM), "the receiver is", "read(position, limit)"),
]


@pytest.mark.parametrize(("make", "what", "remedy"), WRONG)
def test_what_is_wrong_is_refused_at_its_line(make: Any, what: str, remedy: str) -> None:
    with pytest.raises(TopologyError) as caught:
        make()
    assert what in caught.value.message
    assert caught.value.message.startswith(f"{__file__}:")
    assert remedy in caught.value.remedy


def test_a_feed_has_no_schemas_of_a_registry() -> None:
    form = Registered.__new__(Registered)
    object.__setattr__(form, "format", Json({"a": pl.String}))
    with pytest.raises(TopologyError, match="no registry has a schema"):
        read().queue(Queue(), format=form)


def built(**options: Any) -> Topology:
    topology = Topology("app")
    topology.read.files("/data/in.d", **{"format": FORM, **options}).write.kafka("out")
    return topology


def test_a_feed_is_called_as_its_folder_unless_it_has_a_name() -> None:
    assert built().plan().source().topic == "app.in"
    assert built(name="orders").plan().source().topic == "app.orders"


def test_a_feed_is_told_of_in_each_description() -> None:
    stages = built(pattern="*.csv", max_files_per_trigger=2, clean_source="delete").stages()
    text = describe(stages[0].plan)
    assert "fed from files of /data/in.d, *.csv, 2 at a time, deleted after" in text
    told = as_json(stages)[0]["reads"]["feed"]
    assert (told["kind"], told["group"], told["ledger"]) == ("files", "app.feed-in", "app.feed-in")
    assert "files of /data/in.d" in as_mermaid(stages)


def test_another_feed_is_another_topology_with_the_same_state() -> None:
    one, other = built().plan(), built(latest_first=True).plan()
    assert identity(one) != identity(other)
    assert fingerprint(one) == fingerprint(other)
    topic = Topology("app")
    topic.read.kafka("app.in", format=FORM).write.kafka("out")
    assert identity(topic.plan()) != identity(one)


def test_rows_of_one_partition_are_in_one_place_and_of_several_are_dealt_out() -> None:
    from processor import functions as F

    for partitions, count in ((1, 1), (2, 2)):
        topology = Topology("app")
        rows = topology.read.files("in", format=FORM, partitions=partitions)
        rows.group_by("a").agg(n=F.count()).write.kafka("out", key="a", mode="update")
        assert len(topology.stages()) == count


def test_lines_of_a_socket_are_text_unless_told() -> None:
    topology = Topology("app")
    topology.read.socket("localhost", 9).write.kafka("out", format=Text())
    assert topology.plan().source().format == Text(empty=True)


def test_rows_of_a_rate_that_a_step_cannot_compute_are_dead_letters_or_skipped():
    def broken(value):
        if value == 3:
            raise ValueError("three")
        return value

    for on_error, letters in (("dead_letter", 1), ("skip", 0)):
        topology = Topology("app")
        rows = topology.read.rate(100, rows=5, on_error=on_error)
        made = pl.col("value").map_elements(broken, return_dtype=pl.Int64)
        rows.with_columns(value=made).select("value").write.kafka("out")
        driver = TestDriver(topology)
        driver.run()
        driver.advance(10)
        driver.run()
        assert [row["value"] for row in driver.json("out")] == [0, 1, 2, 4]
        assert len(driver.dead_letters() if letters else []) == letters
