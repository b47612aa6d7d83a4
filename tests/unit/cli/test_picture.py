from __future__ import annotations

import math
import random
import re
from xml.etree import ElementTree as ET

import pytest

from processor.cli.picture import COLOURS, colour, svg

SVG = "{http://www.w3.org/2000/svg}"
CENTROIDS = [(40.7, -74.0), (40.8, -73.9)]


def points(count, seed=1):
    rng = random.Random(seed)
    return [
        (rng.gauss(CENTROIDS[i % 2][0], 0.01), rng.gauss(CENTROIDS[i % 2][1], 0.01), i % 2)
        for i in range(count)
    ]


def drawn(*args):
    return ET.fromstring(svg(*args))  # noqa: S314 - our own


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def dots(root):
    return {
        path.get("class"): re.findall(r"M([\d.]+) ([\d.]+)h0", path.get("d"))
        for path in root.iter(f"{SVG}path")
    }


def test_points_are_dots_in_their_clusters_colour():
    root = drawn(points(400), CENTROIDS, {0: 200, 1: 200}, "t")
    found = dots(root)
    assert set(found) == {"cluster-0", "cluster-1"}
    assert 380 <= sum(map(len, found.values())) <= 400  # a few lie outside
    assert [path.get("stroke") for path in root.iter(f"{SVG}path")] == list(COLOURS[:2])


def test_north_is_up_and_east_is_right():
    found = dots(drawn(points(400), CENTROIDS, {}, "t"))
    x, y = (
        [sum(float(dot[axis]) for dot in found[f"cluster-{c}"]) / len(found[f"cluster-{c}"])
         for c in (0, 1)] for axis in (0, 1)
    )  # fmt: skip
    assert x[0] < x[1]
    assert y[0] > y[1]


def test_everything_lies_within_the_picture():
    root = drawn(points(400), CENTROIDS, {}, "t")
    width, height = map(float, root.get("viewBox").split()[2:])
    for pairs in dots(root).values():
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in pairs)


def test_axes_centroids_and_legend_are_labelled():
    root = drawn(points(100), CENTROIDS, {0: 1234}, "Trips & <clusters>")
    shown = texts(root)
    assert "longitude (degrees)" in shown
    assert "latitude (degrees)" in shown
    assert "0: 1,234" in shown
    assert "1: 0" in shown
    assert root.find(f"{SVG}title").text == "Trips & <clusters>"
    marks = [c for c in root.iter(f"{SVG}circle") if c.get("class") == "centroid"]
    assert len(marks) == 2
    assert any(re.fullmatch(r"-7\d(\.\d+)?", text) for text in shown if text)


def test_a_few_points_far_away_do_not_make_a_dot_of_the_city():
    far = [(0.0, 0.0, 0), (90.0, 180.0, 1)]
    found = dots(drawn([*points(1000), *far], CENTROIDS, {}, "t"))
    xs = [float(x) for pairs in found.values() for x, _ in pairs]
    assert max(xs) - min(xs) > 400


def test_a_centroid_outside_is_said_to_be():
    assert "2: 7 (outside)" in texts(drawn(points(100), [*CENTROIDS, (10.0, 10.0)], {2: 7}, "t"))


@pytest.mark.parametrize(
    ("some", "centres"),
    [
        ([], CENTROIDS),
        ([], []),
        ([(40.7, -74.0, 0)], []),
        ([(40.7, -74.0, 0)] * 50, CENTROIDS[:1]),
        ([(math.nan, -74.0, 0), (40.7, -74.0, 0)], CENTROIDS),
        ([(90.0, 0.0, 0), (90.0, 1.0, 0)], CENTROIDS),
        (points(10), [(40.7, -74.0)] * 60),
    ],
)
def test_there_is_always_a_picture(some, centres):
    text = svg(some, centres, {}, "t")
    assert ET.fromstring(text).tag == f"{SVG}svg"  # noqa: S314 - our own
    assert "nan" not in text


def test_colours_differ():
    assert len({colour(i) for i in range(40)}) == 40
    assert all(re.fullmatch("#[0-9a-f]{6}", colour(i)) for i in range(-1, 200))
