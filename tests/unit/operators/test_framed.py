"""Records of a schema registry's client, where a bare format reads: the reason says so."""

import polars as pl
import pytest

from processor import Avro, CloudEvents, Csv, Json, JsonSchema, Registered, Text, Topology
from processor.testing import TestDriver

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}
FRAMED = b"\0\0\0\1\x07\x02\x02"
TOLD = "with the schema's number 263, which Registered(...) reads"


def reasons(form, values, keys=None, **reading):
    topology = Topology("framed")
    topology.read.kafka("in", format=form, **reading).write.kafka("out")
    driver = TestDriver(topology)
    driver.log.feed("in", values, keys or [None] * len(values))
    driver.run()
    return [dict(m.headers())["processor.error"].decode() for m in driver.dead_letters()]


@pytest.mark.parametrize(
    "form",
    [
        Json({"n": pl.Int64}), Csv({"n": pl.Int64}), Avro(SCHEMA),
        CloudEvents(Json({"a": pl.Int64})),
        JsonSchema({"type": "object", "properties": {"n": {"type": "integer"}}}),
    ],
)  # fmt: skip
def test_a_record_in_the_wire_format_is_told_as_one(form):
    told = reasons(form, [FRAMED, b"\xff\xff", b"\0\xff\xff\xff\xff\xff", None])
    assert [TOLD in one for one in told] == [True, False, False, False]


def test_a_key_in_the_wire_format_is_told_where_a_bare_format_reads_it():
    told = reasons(Text(), [b"a"], [FRAMED], key_format=Json({"k": pl.Int64}))
    assert told[0].startswith("key: no JSON")
    assert told[0].endswith(TOLD)
    # What is wrong is the value, whatever the key looks like.
    (told,) = reasons(Json({"n": pl.Int64}), [b"{"], [FRAMED])
    assert TOLD not in told


def test_a_registered_format_is_not_told_to_be_one():
    (told,) = reasons(Registered(Avro(SCHEMA)), [FRAMED])
    assert TOLD not in told
