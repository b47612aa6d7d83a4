from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from processor import TopologyError
from processor import functions as F


@pytest.mark.parametrize("size", ["1 hour", "60m", timedelta(hours=1)])
def test_a_window_has_a_column_and_a_length(size: str | timedelta) -> None:
    assert (F.window("dt", size).column, F.window("dt", size).size) == ("dt", timedelta(hours=1))


@pytest.mark.parametrize("size", ["", "1", "0s", timedelta(0), timedelta(-1), timedelta.max])
def test_a_length_that_is_none_is_refused_at_its_line(size: str | timedelta) -> None:
    with pytest.raises(TopologyError, match=r"test_functions\.py:\d+: window size"):
        F.window("dt", size)


def nearest(points: list, *at: tuple[float, float]) -> list[int]:
    frame = pl.DataFrame(at, schema=["a", "b"], orient="row")
    return frame.select(n=F.nearest("a", "b", points))["n"].to_list()


def test_the_nearest_point_is_that_of_least_distance_and_the_first_of_equals() -> None:
    points = [(0.0, 0.0), (10.0, 0.0), (0.0, 0.0)]
    assert nearest(points, (1, 1), (9, 0), (5, 0)) == [0, 1, 0]


def test_the_nearest_point_agrees_with_the_matrix_of_all_distances() -> None:
    rng = np.random.default_rng(7)
    points, at = rng.normal(size=(20, 2)), rng.normal(size=(500, 2))
    distances = ((at[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    found = nearest([tuple(p) for p in points], *map(tuple, at))
    assert found == distances.argmin(axis=1).tolist()


def test_no_rows_have_no_nearest_point() -> None:
    frame = pl.DataFrame(schema={"a": pl.Float64, "b": pl.Float64})
    assert frame.select(n=F.nearest("a", "b", [(0, 0)])).schema == {"n": pl.Int64}


@pytest.mark.parametrize("at", [None, float("nan"), float("inf"), -float("inf")])
def test_what_has_no_place_has_no_nearest_point(at: float | None) -> None:
    points = [(50.0, 8.0), (1.0, 1.0)]
    assert nearest(points, (1, 1), (at, 1), (1, at), (at, at)) == [1, None, None, None]


def test_a_place_so_far_that_no_distance_is_a_number_has_no_nearest_point() -> None:
    assert nearest([(0.0, 0.0)], (1e300, 0.0), (1e150, 1.0)) == [None, 0]


def test_distances_whose_sum_is_no_number_are_distances() -> None:
    assert nearest([(0.0, 0.0)], *[(1e154, 0.0)] * 9) == [0] * 9


def test_a_whole_number_that_is_missing_has_no_nearest_point() -> None:
    frame = pl.DataFrame({"a": [3, None], "b": [None, 3]}, schema={"a": pl.Int64, "b": pl.Int8})
    assert frame.select(n=F.nearest("a", "b", [(0, 0)]))["n"].to_list() == [None, None]


@pytest.mark.parametrize(
    "points", [[], [(0.0, float("nan"))], [(float("inf"), 0.0)], [(1.0,)], [("a", 1)], None]
)
def test_points_that_are_none_are_refused_at_their_line(points: list) -> None:
    with pytest.raises(TopologyError, match=r"test_functions\.py:\d+: F\.nearest"):
        F.nearest("a", "b", points)


def test_centroids_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"centroids": [[1, 2], [3.5, -4]], "seed": 1}))
    assert F.centroids(path) == F.centroids(str(path)) == [(1.0, 2.0), (3.5, -4.0)]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"centroids":[]}', '{"centroids":[[1]]}', '{"centroids":[["a",1]]}',
     '{"centroids":[[NaN,1]]}', '{"centroids":null}', '{"centroids":[1]}'],
)  # fmt: skip
def test_a_centroid_file_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(TopologyError, match=r"c\.json"):
        F.centroids(path)
    with pytest.raises(TopologyError, match=r"none\.json"):
        F.centroids(tmp_path / "none.json")
