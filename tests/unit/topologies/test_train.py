from __future__ import annotations

import json
from itertools import chain

import polars as pl
import pytest
from click.testing import CliRunner

from processor import ProcessorError
from processor import functions as F
from topologies.uber import enrich, train
from topologies.uber.generate import trips

HEADER = "Date/Time,Lat,Lon,Base"
PLACES = [(40.0, -74.0), (41.0, -73.0), (42.0, -72.0)]


@pytest.fixture
def source(tmp_path):
    forms = ("2014-08-01 00:00:00", "8/1/2014 0:03:00", "2014/8/1 00:03:00")
    lines = [
        f"{form},{lat + shift},{lon},B1"
        for form, (lat, lon) in zip(forms, PLACES, strict=True)
        for shift in (-0.01, 0.01)
    ]
    path = tmp_path / "trips.csv"
    path.write_text("\n".join([HEADER, *lines]))
    return path


def run(*options):
    return CliRunner().invoke(train.main, [str(option) for option in options])


def test_all_forms_of_dates_and_a_header_are_read(source):
    found, bad = train.read(source)
    assert found.height == 6
    assert bad == 0


def test_lines_that_are_no_trips_are_counted(source):
    source.write_text(source.read_text() + "\nnot a trip\n")
    assert train.read(source)[1] == 1


def test_the_file_is_one_that_the_topology_reads(source, tmp_path):
    pytest.importorskip("sklearn")
    output = tmp_path / "centroids.json"
    done = run("--input", source, "--output", output, "--k", 3)
    assert done.exit_code == 0, done.output
    assert [(round(lat, 6), round(lon, 6)) for lat, lon in F.centroids(output)] == PLACES
    assert "6 trips of trips.csv" in json.loads(output.read_text())["comment"]


def test_training_twice_makes_the_same_file(tmp_path):
    pytest.importorskip("sklearn")
    source = tmp_path / "trips.csv"
    source.write_bytes(b"\n".join(chain.from_iterable(trips(2_000))))
    found = []
    for name in ("a.json", "b.json"):
        assert run("--input", source, "--output", tmp_path / name, "--k", 5).exit_code == 0
        found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1]
    centroids = json.loads(found[0])["centroids"]
    assert centroids == sorted(centroids)
    assert all(round(number, 7) == number for pair in centroids for number in pair)


def test_more_clusters_than_places_are_refused(source):
    with pytest.raises(ProcessorError, match="7 clusters need as many places, the trips have 6"):
        train.cluster(train.read(source)[0], 7)


def test_a_file_that_is_not_there(tmp_path):
    done = run("--input", tmp_path / "none", "--output", tmp_path / "c.json")
    assert done.exit_code == 1
    assert "none cannot be read" in done.output
    assert "remedy" in done.output


def test_an_output_that_cannot_be_written(tmp_path):
    with pytest.raises(ProcessorError, match="cannot be written"):
        train.write(tmp_path / "none" / "c.json", PLACES, "")


def test_the_bundled_centroids_are_ten_in_new_york():
    found = F.centroids(enrich.CENTROIDS)
    assert len(found) == len(set(found)) == 10
    frame = pl.DataFrame(found, schema=["lat", "lon"], orient="row")
    assert frame["lat"].is_between(40.4, 41.0).all()
    assert frame["lon"].is_between(-74.3, -73.6).all()
