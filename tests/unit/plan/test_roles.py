"""One topic, one role."""

from __future__ import annotations

import polars as pl
import pytest

from processor import Csv, Json, Text, Topology, TopologyError
from processor.plan import roles


def copy(app="copy", source="in", out="out", **options):
    topology = Topology(app)
    rows = topology.read.kafka(source, format=Text(), **options)
    for topic in (out,) if isinstance(out, str) else out:
        rows.write.kafka(topic, format=Text())
    return topology


def late(app, source="in", out="out", topic="late"):
    topology = Topology(app)
    format_ = Json({"dt": pl.Datetime("us")})
    rows = topology.read.kafka(source, format=format_, event_time="dt", on_error="skip")
    rows.with_watermark("1 hour", late=topic).write.kafka(out)
    return topology


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (copy(out="in"), "read and written by one topology"),
        (copy(dead_letters="in"), "read and written by one topology"),
        (copy(dead_letters="out"), "'out' takes the dead letters of 'copy' and the rows of"),
        (copy(out="copy-dead-letters"), "takes the dead letters"),
        (copy(out=("a", "b", "a")), "'a' is written a second time, first at"),
        (copy(out="copy-changelog"), "where the topology's state is kept"),
        (copy(source="copy-changelog"), "where the topology's state is kept"),
        (copy(dead_letters="copy-changelog"), "where the topology's state is kept"),
        (late("a", topic="out"), "late records go to 'out'"),
    ],
)
def test_a_topic_in_two_roles_is_refused_at_its_line(made, what):
    with pytest.raises(TopologyError, match=what) as caught:
        made.plan()
    assert caught.value.message.startswith(f"{__file__}:")
    assert caught.value.remedy


def test_dead_letters_that_are_not_sent_take_no_topic():
    copy(dead_letters="out", on_error="skip").plan()


def told(*made):
    return list(roles.together([topology.plan() for topology in made]))


def test_a_chain_of_topologies_is_as_it_should_be():
    assert told(copy("a", "in", "x"), copy("b", "x", "y"), copy("c", "x", "z")) == []
    assert told(copy("a")) == []


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ((copy("a", "in", "x"), copy("b", "in", "x")), "'x' is written by 'a' too"),
        ((copy("a", "in", "x"), copy("b", "y", "z", dead_letters="x")), "takes the dead letters"),
        ((late("a", "in", "x", "l"), copy("b", "y", "l")), "takes the late records of 'a' too"),
        ((copy("a", "x", "y"), copy("b", "y", "x")), "without end: . -> . -> ."),
        (
            (copy("a", "x", "y"), copy("b", "y", "z"), copy("c", "z", "x")),
            "without end: . -> . -> . -> .",
        ),
    ],
)
def test_topologies_that_come_into_each_others_way_are_refused(made, what):
    with pytest.raises(TopologyError, match=what) as caught:
        told(*made)
    assert caught.value.message.startswith(f"{__file__}:")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ((copy("a", "in", "x", dead_letters="d"), copy("b", "d", "y")),
         "b reads 'd', which takes the dead letters of a"),
        ((late("a", "in", "x", "l"), copy("b", "l", "y")),
         "b reads 'l', which takes the late records of a"),
        ((copy("a", "in", "x", dead_letters="d"), copy("b", "x", "y", dead_letters="d")),
         "'d' takes the dead letters of a and the dead letters of b"),
    ],
)  # fmt: skip
def test_what_may_be_meant_is_told(made, what):
    (note,) = told(*made)
    assert what in note


def test_a_cycle_that_does_not_begin_with_the_first_is_found_too():
    made = (copy("a", "in", "x"), copy("b", "x", "y"), copy("c", "y", "x2"), copy("d", "x2", "y2"))
    assert told(*made) == []
    with pytest.raises(TopologyError, match="without end"):
        told(copy("a", "in", "q"), copy("b", "x", "y"), copy("c", "y", "x"))


@pytest.mark.parametrize("other", ["out/", "./out", "x/../out"])
def test_a_directory_is_written_once_however_it_is_spelled(other, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    topology = Topology("copy")
    rows = topology.read.kafka("in", format=Csv({"a": pl.String}))
    rows.write.files("out")
    rows.write.files(other)
    with pytest.raises(TopologyError, match="written a second time, first at"):
        topology.stages()
