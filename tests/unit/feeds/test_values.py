"""Values of Python as records."""

import polars as pl
import pytest

from processor import Csv, Json, Topology
from processor.errors import SettingsError
from processor.feeds.values import encoded

COLUMNS = {"user": pl.String, "n": pl.Int64}


@pytest.mark.parametrize("form", [Json(COLUMNS), Csv(COLUMNS)])
def test_a_frame_that_lacks_a_column_is_refused_by_its_name(form):
    with pytest.raises(ValueError, match="no column 'n' and no 'user', but usr"):
        encoded(form, pl.DataFrame({"usr": ["a"]}))


def test_a_frame_may_lack_what_may_be_missing_and_what_is_no_member():
    form = Json(
        {**COLUMNS, "at": pl.String, "more": pl.String, "no_at": pl.Boolean},
        optional=frozenset({"at"}), rest="more", missing={"at": "no_at"},
    )  # fmt: skip
    assert encoded(form, pl.DataFrame({"user": ["a"], "n": [1]})) == [b'{"user":"a","n":1}']
    with pytest.raises(ValueError, match="no column 'n', but user"):
        encoded(form, pl.DataFrame({"user": ["a"]}))


def test_a_run_is_not_begun_with_a_frame_whose_columns_are_others():
    topology = Topology("app")
    topology.read.kafka("in", format=Json(COLUMNS)).write.kafka("out")
    with pytest.raises(SettingsError, match=r"feed=.*no column 'user', but n, usr"):
        topology.collect(feed={"in": pl.DataFrame({"n": [1], "usr": ["a"]})})
