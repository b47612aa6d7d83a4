from __future__ import annotations

import json

import pytest

from processor import TopologyError
from processor.testing.driver import TestDriver
from topologies.uber.enrich import enrich
from topologies.uber.popular import popular


@pytest.fixture
def centroids(tmp_path):
    path = tmp_path / "centroids.json"
    path.write_text(json.dumps({"centroids": [[40.0, -74.0], [41.0, -73.0]]}))
    return {"centroids": str(path)}


def test_a_trip_gets_the_nearest_cluster(centroids):
    driver = TestDriver(enrich, centroids)
    driver.feed(["8/1/2014 0:03:00,40.9,-73.1,B02598", "2014-08-01 00:04:00,40,-74,B02512"])
    driver.run()
    assert driver.values("trips-enriched") == [
        b'{"dt":"2014-08-01 00:03:00","lat":40.9,"lon":-73.1,"base":"B02598","cluster":1}',
        b'{"dt":"2014-08-01 00:04:00","lat":40.0,"lon":-74.0,"base":"B02512","cluster":0}',
    ]
    assert [message.key() for message in driver.read("trips-enriched")] == [b"1", b"0"]


def test_what_is_no_trip_is_set_aside(centroids):
    driver = TestDriver(enrich, centroids)
    driver.feed(["Date/Time,Lat,Lon,Base", "2014-08-01 00:04:00,40,-74,B02512"])
    driver.run()
    assert [letter.value() for letter in driver.dead_letters()] == [b"Date/Time,Lat,Lon,Base"]
    assert len(driver.values("trips-enriched")) == 1


def test_trips_are_counted_by_cluster_and_hour():
    driver = TestDriver(popular)
    for at, cluster in (("00:10", 3), ("00:59", 3), ("01:00", 3), ("00:30", 4)):
        driver.feed([{"dt": f"2014-08-01 {at}:00", "cluster": cluster}], key=str(cluster))
    driver.run()
    found = {(r["cluster"], r["window_start"]): r["trips"] for r in driver.json("popular-clusters")}
    assert found == {
        (3, "2014-08-01T00:00:00"): 2,
        (3, "2014-08-01T01:00:00"): 1,
        (4, "2014-08-01T00:00:00"): 1,
    }


def test_the_window_is_a_parameter():
    driver = TestDriver(popular, {"window": "1 day"})
    driver.feed([{"dt": f"2014-08-01 {hour:02}:00:00", "cluster": 0} for hour in range(24)])
    driver.run()
    assert driver.json("popular-clusters")[-1]["trips"] == 24


def test_both_stages_write_the_same_rows_in_avro(centroids):
    told = {"format": "avro"}
    lines = ["8/1/2014 0:03:00,40.9,-73.1,B02598", "2014-08-01 00:04:00,40,-74,B02512"]
    counts = []
    for given in ({}, told):
        first = TestDriver(enrich, centroids | given)
        first.feed(lines)
        first.run()
        second = TestDriver(popular, given)
        for message in first.read("trips-enriched"):
            second.feed([message.value()], key=message.key())
        second.run()
        counts.append(second)
    plain, avro = counts
    found = [
        row | {side: row[side].isoformat() for side in ("window_start", "window_end")}
        for row in avro.rows("popular-clusters")
    ]
    assert found == plain.json("popular-clusters")
    assert len(found) == 2
    assert avro.values("popular-clusters") != plain.values("popular-clusters")


def test_a_format_that_is_not_there_is_told():
    with pytest.raises(TopologyError, match="no format 'xml'"):
        TestDriver(popular, {"format": "xml"})
