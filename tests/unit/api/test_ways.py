"""What users of other systems write is refused at its line, with the nearest way."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import polars as pl
import pytest

from processor import Csv, Json, Text, Topology, TopologyError
from processor import functions as F
from processor.api import ways
from processor.api.frame import Frame
from processor.api.group import Group
from processor.api.reader import Reader
from processor.api.writer import Writer

COLUMNS = {"dt": pl.Datetime("us"), "user": pl.String, "n": pl.Int64}


def rows() -> Any:
    return Topology("app").read.kafka("in", format=Json(COLUMNS), event_time="dt")


HANDLES = {
    "frame": (rows, ways.FRAME, Frame),
    "group": (lambda: rows().group_by("user"), ways.GROUP, Group),
    "read": (lambda: Topology("app").read, ways.READER, Reader),
    "write": (lambda: rows().write, ways.WRITER, Writer),
    "topology": (lambda: Topology("app"), ways.TOPOLOGY, Topology),
    "F": (lambda: F, ways.FUNCTIONS, None),
}
NAMES = [(what, name) for what, (_, table, _) in HANDLES.items() for name in table]


@pytest.mark.parametrize(("what", "name"), NAMES)
def test_a_method_that_is_missing_says_the_nearest_way(what: str, name: str) -> None:
    make, table, owner = HANDLES[what]
    assert owner is None or not hasattr(owner, name)
    with pytest.raises(TopologyError, match=f"has no '{name}'") as caught:
        getattr(make(), name)
    assert caught.value.message.startswith(f"{__file__}:")
    assert caught.value.remedy == table[name]


@pytest.mark.parametrize("what", HANDLES)
def test_any_other_name_says_what_there_is(what: str) -> None:
    with pytest.raises(TopologyError, match="has no 'qwertz'") as caught:
        HANDLES[what][0]().qwertz()
    assert "there are: " in caught.value.remedy


def test_a_slip_of_the_pen_says_what_was_meant() -> None:
    with pytest.raises(TopologyError) as caught:
        rows().with_column_s(x=pl.col("n"))
    assert caught.value.remedy.startswith("did you mean with_columns? ")


def test_to_python_it_is_an_attribute_that_is_missing() -> None:
    assert not hasattr(rows(), "join_asof")
    assert getattr(F, "explode", None) is None
    for name in ("__deepcopy__", "_repr_html_"):
        assert not hasattr(rows(), name)
    assert isinstance(copy.copy(rows()), Frame)
    assert pickle.dumps(ways.FRAME["join_asof"])


ARGUMENTS: list[tuple[Any, str, str]] = [
    (lambda: rows().repartition(8), "8 is no column", "partitions=8"),
    (lambda: rows().with_columns("x", pl.col("n") + 1), "with_columns('x')", "x=expression"),
    (lambda: rows().group_by(pl.col("user")), 'is the expression col("user")', "with_columns"),
    (lambda: rows().join(pl.DataFrame(), on="user"), "another frame", "replace_strict"),
    (lambda: rows().write.files("out", format="parquet"), "format is 'parquet'", "Parquet()"),
    (lambda: rows().write.kafka("o", checkpointLocation="x"), "checkpointLocation", "--data-dir"),
    (lambda: rows().trigger(once=True), "'trigger'", "--until-caught-up"),
    (lambda: F.window("dt", "1 hour", slideDuration="5 minutes"), "slideDuration",
     "windows that overlap have a slide"),
    (lambda: F.window("dt", "1 hour", "2 hours"), "longer than its size", "filter"),
    (lambda: F.window("dt", "1 day", "7 ms"), "86,400,000 panes", "divides the size"),
    (lambda: F.window("dt", "1 hour", "0 s"), "out of bounds", "10 minutes"),
    (lambda: F.window("dt", "1 hour", 5), "the window's slide is 5 (int)", "10 minutes"),
    (lambda: F.window("dt", "1 hour", "20 minutes", "20 minutes"), "not less than the slide",
     "moved by the start"),
    (lambda: F.window("dt", "1 hour", start="1 hour"), "not less than the size", "multiples"),
    (lambda: F.window("dt", "1 hour", "5 minutes", "0 s", 1), "too many", "that slides"),
    (lambda: F.window("dt"), "missing a required argument: 'size'", 'window("dt", "1 hour")'),
    (lambda: F.window("dt", 5), "window size is 5 (int)", '"1 hour"'),
    (lambda: F.window(pl.col("dt"), "1 hour"), "the window's column is", "with_columns"),
    (lambda: F.window("dt", "1 parsec"), "window size: ", '"1 hour"'),
    (lambda: F.window("dt", gap="5 minutes"), "missing a required", "no sessions"),
    (F.sum, "missing a required argument: 'column'", 'F.sum("amount")'),
    (lambda: F.sum(pl.col("n")), "F.sum is ", "with_columns(k=expression)"),
    (lambda: F.mean(["n"]), "F.mean is ['n'] (list)", "one column"),
    (lambda: F.count("a", "b"), "too many positional", "F.count()"),
    (lambda: rows().with_watermark(5), "the watermark's delay is 5 (int)", '"2 days"'),
    (lambda: rows().with_watermark("dt", "2 days"), "too many positional", "read.kafka"),
    (lambda: rows().with_watermark(None), "delay is None", '"2 days"'),
    (lambda: rows().with_watermark("2 days", late=5), "late is 5", "a topic's name"),
    (lambda: rows().group_by(["user", "n"]), "a key of group_by is ['user', 'n'] (list)",
     "of several make one"),
    (lambda: rows().group_by("user").agg(F.count()), "too many positional", "n=F.count()"),
    (lambda: rows().group_by("user").agg({"n": "sum"}), "too many positional", 'F.sum("amount")'),
    (lambda: rows().group_by("user").agg(n="count"), "n=count is no aggregate", "F.count()"),
    (lambda: rows().group_by("user").agg(n=F.count), "is no aggregate", "F.count()"),
    (lambda: rows().filter(pl.col("n") > 1, pl.col("n") < 5), "too many positional", "&"),
    (lambda: rows().filter(), "missing a required argument", "filter("),
    (lambda: rows().filter(True), "True is no Polars expression", "pl.col"),  # noqa: FBT003 - the mistake
    (lambda: rows().select(["user", "n"]), "is no Polars expression", "pl.col"),
    (lambda: rows()["user"], "no rows or columns", 'pl.col("a")'),
    (lambda: list(rows()), "no rows or columns", "processor run"),
    (rows().write.kafka, "missing a required argument: 'topic'", "write.kafka"),
    (lambda: rows().write.kafka(["out"]), "the topic is ['out'] (list)", "give its name"),
    (lambda: rows().write.kafka("out", key=["user", "n"]), "key is ['user', 'n']", "concat_str"),
    (lambda: rows().write.kafka("out", key=pl.col("user")), "key is ", "with_columns"),
    (lambda: rows().write.kafka("out", key=5), "key is 5 (int)", '"user"'),
    (lambda: rows().write.kafka("out", format="json"), "format is 'json' (str)", "Json({"),
    (lambda: rows().write.kafka("out", format=Json), "the class Json", "Json({"),
    (lambda: rows().write.kafka("out", outputMode="update"), "outputMode", '"complete"'),
    (lambda: rows().write.kafka("out", bootstrap_servers="b"), "bootstrap_servers",
     "--bootstrap-servers"),
    (lambda: Topology("a").read.kafka("in"), "missing a required argument: 'format'", "Json({"),
    (lambda: Topology("a").read.kafka("in", Json(COLUMNS)), "too many positional", "format=Json"),
    (lambda: Topology("a").read.kafka(["in"], format=Text()), "the topic is ['in']", "its name"),
    (lambda: Topology("a").read.kafka("in", format=Text(), key=["a", "b"]),
     "key is ['a', 'b'] (list)", "key_format=Json({...})"),
    (lambda: Topology("a").read.kafka("in", format=Text(), offset=True),
     "offset is True (bool)", 'offset="o"'),
    (lambda: Topology("a").read.kafka("in", format=Csv), "the class Csv", "Csv({"),
    (lambda: Topology("a").read.kafka("in", format={"a": pl.String}), "format is {", "Json({"),
    (lambda: Topology("a").read.kafka("in", schema={}, format=Text()), "schema", "format=Json"),
    (lambda: Topology("a").read.kafka("in", format=Text(), event_time=5), "event_time is 5",
     '"user"'),
    (lambda: Topology("a").read.kafka("in", format=Text(), partitioned_by=5),
     "partitioned_by is 5", '"user"'),
    (lambda: Topology("a").read.kafka("in", format=Text(), dead_letters=True),
     "dead_letters is True", "trips-dead"),
    (lambda: Topology("a").read.kafka("in", format=Text(), startingOffsets="earliest"),
     "startingOffsets", "--from"),
    (lambda: Topology(5), "the application id is 5 (int)", "give a name"),
    (lambda: Topology(None), "the application id is None", "give a name"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "what", "remedy"), ARGUMENTS, ids=range(len(ARGUMENTS)))
def test_an_argument_that_is_wrong_is_told_at_its_line(call: Any, what: str, remedy: str) -> None:
    with pytest.raises(TopologyError) as caught:
        call()
    assert caught.value.message.startswith(f"{__file__}:"), caught.value.message
    assert what in caught.value.message
    assert remedy in caught.value.remedy
