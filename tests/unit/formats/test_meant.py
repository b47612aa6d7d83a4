"""Types and columns as other systems tell them: what is said instead is right as it stands."""

import re

import polars as pl
import pyarrow as pa
import pytest

from processor import Arrow, Csv, Debezium, Json, TopologyError


@pytest.mark.parametrize(
    ("make", "written"),
    [
        (lambda: Json({"to": {"city": pl.String}}), 'pl.Struct({"city": pl.String})'),
        (lambda: Json({"tags": [pl.String]}), "pl.List(pl.String)"),
        (lambda: Json({"a": {"b": [{"c": "int64"}]}}),
         'pl.Struct({"b": pl.List(pl.Struct({"c": pl.Int64}))})'),
        (lambda: Json({"a": [pl.List(pl.Datetime("ms", "UTC"))]}),
         'pl.List(pl.List(pl.Datetime("ms", "UTC")))'),
        (lambda: Json({"a": [pl.Struct({"b": pl.Int8})]}),
         'pl.List(pl.Struct({"b": pl.Int8}))'),
        (lambda: Json({"a": {"b": "decimal"}}), 'pl.Struct({"b": pl.Decimal(18, 2)})'),
        (lambda: Arrow({"id": pa.string()}), "pl.String"),
        (lambda: Arrow({"at": pa.list_(pa.timestamp("us"))}), 'pl.List(pl.Datetime("us"))'),
        (lambda: Csv({"n": "integer"}), "pl.Int32"),
    ],
)  # fmt: skip
def test_a_type_that_is_told_otherwise_is_named_as_it_is_to_be_written(make, written):
    with pytest.raises(TopologyError) as refused:
        make()
    found = re.search(r"write (pl\..*?)(?: for .*)?$", str(refused.value))
    assert found is not None
    assert found[1] == written
    assert isinstance(eval(written, {"pl": pl}), pl.DataType | type)  # noqa: S307 - our own text


@pytest.mark.parametrize(
    ("make", "written"),
    [
        (lambda: Json(["id", "n"]), 'Json({"id": pl.String, "n": pl.String})'),
        (lambda: Json("id"), 'Json({"user": pl.String})'),
        (lambda: Arrow(pa.schema([("id", pa.string()), ("n", pa.int64())])),
         'Arrow({"id": pl.String, "n": pl.Int64})'),
        (lambda: Debezium(Json({"n": pl.Int64})), 'Debezium({"n": pl.Int64})'),
        (lambda: Csv(3), 'Csv({"user": pl.String})'),
    ],
)  # fmt: skip
def test_columns_that_are_no_mapping_are_told_with_what_they_name(make, written):
    with pytest.raises(TopologyError) as refused:
        make()
    assert str(refused.value).endswith(written)
    assert "\n  remedy" in str(refused.value)
    assert str(refused.value).count("\n") == 1


@pytest.mark.parametrize("kind", [{}, [], [str, int], {"a": object}, pl.Object, object()])
def test_what_stands_for_no_type_is_told_with_those_that_there_are(kind):
    with pytest.raises(TopologyError, match="use String, Int8 to UInt64"):
        Json({"a": kind})


@pytest.mark.parametrize("optional", [True, 3, "id"])
def test_optional_wants_a_set_of_names(optional):
    with pytest.raises(TopologyError, match=r"where a set of names is due\n  remedy: say {'id'}"):
        Json({"id": pl.String}, optional=optional)
