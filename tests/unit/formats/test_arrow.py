"""Arrow's streams: many rows in a record, what fits a column, and what is refused whole."""

from __future__ import annotations

import io
import random
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest

from processor import Arrow, CloudEvents, Topology, TopologyError
from processor.formats.base import WriteError
from processor.formats.legible import as_json
from tests import corpus

FORM = Arrow({"id": pl.Int64, "name": pl.String}, optional=frozenset({"name"}))


def stream(compression=None, **columns):
    table = pa.table(columns)
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(out, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)
    return out.getvalue()


def file(**columns):
    table = pa.table(columns)
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


ONE = stream(id=[1, 2, 3], name=["a", None, "c"])


def test_rows_follow_each_other_and_say_of_which_record_they_are():
    decoded = FORM.decode([ONE, file(id=[7]), stream(id=pa.array([], pa.int64())), ONE])
    assert decoded.bad == {}
    assert decoded.frame["id"].to_list() == [1, 2, 3, 7, 1, 2, 3]
    assert decoded.frame["name"].to_list() == ["a", None, "c", None, "a", None, "c"]
    assert decoded.records is not None
    assert decoded.records.tolist() == [0, 0, 0, 1, 3, 3, 3]


def test_no_records_are_no_rows():
    decoded = FORM.decode([])
    assert decoded.frame.schema == {"id": pl.Int64, "name": pl.String}
    assert decoded.frame.is_empty()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the record has no value"),
        (b"", "the record is empty"),
        (b"x" * 1_000_001, "more than 1000000"),
        (b'{"id":1}', "it does not end as one"),
        (ONE[:-8], "it does not end as one"),
        (ONE[: len(ONE) // 2] + ONE[-8:], "no Arrow stream"),
        (ONE[:9] + b"\xff\xff" + ONE[11:], "no Arrow stream"),
        (file(id=[1])[:-20], "it does not end as one"),
        (stream(name=["a"]), "column 'id': missing"),
        (stream(id=[1, None, 3]), "column 'id': null in row 1"),
        (stream(id=[1.0]), "column 'id': it is double, not int64"),
        (stream(id=["1"]), "column 'id': it is string, not int64"),
        (stream(id=pa.array([2**63], pa.uint64())), "column 'id': Integer value"),
        (stream(id=pa.array([[1]])), "column 'id': it is list"),
    ],
)
def test_what_is_no_rows_is_one_bad_row_and_its_neighbours_are_as_they_were(value, reason):
    decoded = FORM.decode([ONE, value, ONE])
    assert list(decoded.bad) == [3]
    assert reason in decoded.bad[3]
    assert decoded.frame["id"].to_list() == [1, 2, 3, None, 1, 2, 3]


@pytest.mark.parametrize("name", corpus.ARROW)
def test_each_of_the_corpus_is_bad_and_says_why(name):
    form = Arrow({"user": pl.String, "n": pl.Int64})
    decoded = form.decode([corpus.ROWS, corpus.ARROW[name], corpus.ROWS])
    assert list(decoded.bad) == [2]
    assert len(decoded.bad[2]) > 10
    assert decoded.frame["user"].to_list() == ["a", "b", None, "a", "b"]


def test_two_columns_of_one_name_are_bad():
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["id", "id"])
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    assert FORM.decode([out.getvalue()]).bad == {0: "column 'id': there are 2 of that name"}


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        (pl.Int64, pa.array([1, 2], pa.int8()), [1, 2]),
        (pl.UInt8, pa.array([255], pa.int64()), [255]),
        (pl.Float64, pa.array([1.5], pa.float32()), [1.5]),
        (pl.String, pa.array(["a"], pa.string_view()), ["a"]),
        (pl.String, pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pl.Enum(["a", "b"]), pa.array(["b"]), ["b"]),
        (pl.Binary, pa.array([b"ab"], pa.binary(2)), [b"ab"]),
        (pl.Date, pa.array([86_400_000], pa.date64()), [date(1970, 1, 2)]),
        (pl.Datetime("us"), pa.array([1], pa.timestamp("s")), [datetime(1970, 1, 1, 0, 0, 1)]),
        (pl.Datetime("us", "UTC"), pa.array([0], pa.timestamp("ms", "Europe/Berlin")),
         [datetime(1970, 1, 1, tzinfo=UTC)]),
        (pl.Decimal(10, 2), pa.array([Decimal("1.5")], pa.decimal128(4, 1)), [Decimal("1.50")]),
        (pl.List(pl.Int64), pa.array([[1], []], pa.list_(pa.int16())), [[1], []]),
        (pl.Struct({"a": pl.Int64}), pa.array([{"a": 1}], pa.struct([("a", pa.int32())])),
         [{"a": 1}]),
        (pl.List(pl.Struct({"key": pl.String, "value": pl.Int64})),
         pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), [[{"key": "k", "value": 1}]]),
    ],
)  # fmt: skip
def test_what_is_narrower_or_coarser_is_taken(kind, written, read):
    decoded = Arrow({"x": kind}).decode([stream(x=written)])
    assert decoded.bad == {}
    assert decoded.frame["x"].to_list() == read


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (pl.Float32, pa.array([0.1])),
        (pl.Int64, pa.array([True])),
        (pl.Datetime("us"), pa.array([0], pa.timestamp("us", "UTC"))),
        (pl.Datetime("us", "UTC"), pa.array([0], pa.timestamp("us"))),
        (pl.Datetime("ms"), pa.array([1], pa.timestamp("us"))),
        (pl.Datetime("ns"), pa.array([2**62], pa.timestamp("us"))),
        (pl.Decimal(10, 1), pa.array([Decimal("1.55")])),
        (pl.Date, pa.array([0], pa.timestamp("s"))),
        (pl.Struct({"a": pl.Int64}), pa.array([{"b": 1}])),
        (pl.Enum(["a"]), pa.array(["b"])),
        (pl.List(pl.Enum(["a"])), pa.array([["a", "b"]])),
        (pl.String, pa.array([b"a"])),
    ],
)
def test_what_would_lose_a_value_or_is_of_another_kind_is_bad(kind, written):
    decoded = Arrow({"x": kind}, optional=frozenset({"x"})).decode([stream(x=written)])
    assert list(decoded.bad) == [0]
    assert "column 'x': " in decoded.bad[0]


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_small_record_that_becomes_a_large_one_is_bad(compression):
    zeros = pa.array([0] * 2_000_000)
    table = pa.table({"id": zeros})
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(out, table.schema, options=options) as writer:
        writer.write_table(table)
    decoded = FORM.decode([out.getvalue(), stream(compression, id=[5])])
    assert "bytes become 16000000, more than " in decoded.bad[0]
    assert decoded.frame["id"].to_list() == [None, 5]


def test_words_that_all_rows_share_do_not_become_text_without_end():
    word = pa.DictionaryArray.from_arrays(pa.array([0] * 900_000, pa.int8()), ["x" * 50_000])
    table = pa.table({"id": pa.array([0] * 900_000, pa.int8()), "name": word})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    form = Arrow({"name": pl.String}, value_bytes_max=10_000_000)
    assert (
        "45000000000 bytes, most of which rows have in common"
        in (form.decode([out.getvalue()]).bad[0])
    )


def test_rows_are_written_into_few_records_of_bounded_rows_and_bytes():
    rows = pl.DataFrame({"id": range(25), "name": ["n" * 100] * 25})
    form = Arrow({"id": pl.Int64, "name": pl.String}, rows_max=10)
    packed = form.pack(rows)
    assert [count for count, _ in packed] == [10, 10, 5]
    assert form.decode([value for _, value in packed]).frame.equals(rows)
    small = Arrow({"id": pl.Int64, "name": pl.String}, value_bytes_max=1_500)
    packed = small.pack(rows)
    assert len(packed) > 3
    assert max(len(value) for _, value in packed) <= 1_500
    assert small.decode([value for _, value in packed]).frame.equals(rows)
    tiny = Arrow({"id": pl.Int64, "name": pl.String}, value_bytes_max=100)
    with pytest.raises(WriteError, match=r"the row makes .* bytes, more than 100"):
        tiny.pack(rows)


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_arrows_own_library_reads_what_is_written(compression):
    form = Arrow(
        {"id": pl.Int64, "e": pl.Enum(["a", "b"]), "l": pl.List(pl.Enum(["x"]))},
        compression=compression,
    )
    rows = pl.DataFrame({"id": [1, 2], "e": ["a", "b"], "l": [["x"], []]}).cast(form.columns)
    ((_, value),) = form.pack(rows)
    assert pa.ipc.open_stream(value).read_all().to_pylist() == rows.to_dicts()


def test_a_file_that_is_fed_becomes_records_as_a_sink_writes_them():
    form = Arrow({"id": pl.Int64}, rows_max=2)
    assert [form.decode([one]).frame["id"].to_list() for one in form.of_file(file(id=[1, 2, 3]))]\
        == [[1, 2], [3]]  # fmt: skip
    with pytest.raises(ValueError, match="no Arrow stream or file"):
        form.of_file(b"id\n1\n")


def polars_file(frame, compression):
    out = io.BytesIO()
    frame.write_ipc(out, compression=compression)
    return out.getvalue()


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_a_file_of_the_column_engine_is_read_as_one_of_arrows_own_library(compression):
    rows = pl.DataFrame({"id": [1, 2, 3], "name": ["a", None, "ß"]})
    value = polars_file(rows, compression)
    decoded = FORM.decode([value, b"x", value])
    assert decoded.frame.select("id", "name")[:3].rows() == rows.rows()
    assert len(decoded.bad) == 1
    assert [FORM.decode([one]).frame.height for one in FORM.of_file(value)] == [3]


def test_several_streams_or_files_in_one_record_are_bad_and_not_cut_short():
    ((_, one),) = FORM.pack(pl.DataFrame({"id": [1], "name": ["a"]}))
    value = polars_file(pl.DataFrame({"id": [1], "name": ["a"]}), "lz4")
    decoded = FORM.decode([one + one, value + value, one, value])
    assert set(decoded.bad) == {0, 1}
    assert decoded.frame["id"].to_list() == [None, None, 1, 1]


def test_a_small_file_that_becomes_a_large_one_is_bad():
    value = polars_file(pl.DataFrame({"id": np.zeros(2_000_000, np.int64)}), "zstd")
    assert "bytes become 16000000, more than " in Arrow({"id": pl.Int64}).decode([value]).bad[0]


@pytest.mark.parametrize("seed", range(5))
def test_a_file_with_bytes_changed_at_random_harms_no_other(seed):
    made = random.Random(seed)
    good = polars_file(pl.DataFrame({"id": [1, 2], "name": ["a", "b"]}), "lz4")
    for _ in range(60):
        broken = bytearray(good[: made.randrange(1, len(good) + 1)])
        for _ in range(made.randrange(4)):
            broken[made.randrange(len(broken))] ^= made.randrange(1, 256)
        decoded = FORM.decode([bytes(broken), good])
        assert decoded.frame["id"][-2:].to_list() == [1, 2]


def test_a_record_is_shown_as_the_list_of_its_rows():
    assert as_json(FORM, [ONE, b"x"]) == [
        b'[{"id":1,"name":"a"},{"id":2,"name":null},{"id":3,"name":"c"}]', None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Arrow({}), "no columns"),
        (lambda: Arrow({"id": int}), "cannot be read as"),
        (lambda: Arrow({"id": pl.Int64}, optional=frozenset({"x"})), "'x'"),
        (lambda: Arrow({"id": pl.Int64}, rows_max=0), "rows_max is 0"),
        (lambda: Arrow({"id": pl.Int64}, compression="snappy"), "compression='snappy'"),
        (lambda: Arrow({"id": pl.Int64}, value_bytes_max=0), "value_bytes_max"),
        (lambda: CloudEvents(FORM), "is no format of data"),
        (lambda: Topology("t").read.kafka("in", format=FORM, key_format=FORM), "many rows"),
        (lambda: Topology("t").read.kafka("in", format=FORM).write.kafka(
            "out", key="id", key_format=FORM), "many rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_at_its_line(make, words):
    with pytest.raises(TopologyError, match=r"test_arrow\.py:\d+: ") as told:
        make()
    assert words in str(told.value)


@pytest.mark.parametrize("beside", [{"headers": {"h": "name"}}, {"timestamp": "at"}])
def test_a_record_of_many_rows_takes_no_header_and_no_timestamp_of_a_row(beside):
    topology = Topology("t")
    rows = topology.read.kafka("in", format=FORM, timestamp="at")
    rows.write.kafka("out", format=FORM, **beside)
    with pytest.raises(TopologyError, match="holds many rows, and has its own headers"):
        topology.plan()


@pytest.mark.parametrize("row", [{"id": 1.5}, {"id": "7"}, {"id": 1, "name": 5}, {"id": 1, "x": 2}])
def test_what_is_no_row_is_not_made_one(row):
    with pytest.raises(ValueError, match=r"."):
        FORM.records([row])


def test_a_row_as_a_mapping_is_a_record():
    (value,) = FORM.records([{"id": 7}])
    assert FORM.decode([value]).frame.rows() == [(7, None)]
