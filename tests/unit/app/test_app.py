from __future__ import annotations

import sys
import threading
from datetime import timedelta

import pytest

from processor import app, slots
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.store import MemoryStore
from processor.errors import SettingsError, TopologyError
from processor.model.log import TopicPartition
from processor.settings import Settings
from tests.topologies import windowed

ENRICH, POPULAR = "topologies.uber.enrich", "topologies.uber.popular"
MANY = """
from processor import Text, Topology

def made(name):
    topology = Topology(name)
    topology.read.kafka("a", format=Text()).write.kafka("b", format=Text())
    return topology

one, two = made("one"), made("two")

@Topology.define
def three(*, app: str = "three", size: int = 1) -> Topology:
    return made(app)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    def make(text, name="made_for_test"):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield make
    sys.modules.pop("made_for_test", None)


def test_a_topology_is_found_by_its_module():
    assert app.load_topology(ENRICH, {"app": "mine"}).app == "mine"


def test_one_of_several_is_found_by_its_name(module):
    name = module(MANY)
    assert app.load_topology(f"{name}:two", {}).app == "two"
    with pytest.raises(TopologyError, match="there are 3: one, two, three") as raised:
        app.load_topology(name, {})
    assert "package.module:name" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no.such.module", "there is no module 'no.such.module'"),
        ("topologies.uber.nothing", "there is no module"),
        ("json", "there are 0: none"),
        (f"{ENRICH}:nothing", "no topology is called 'nothing', there are 1: enrich"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(name, words):
    with pytest.raises(TopologyError, match=words):
        app.load_topology(name, {})


def test_a_module_that_lacks_a_module_says_which(module):
    with pytest.raises(TopologyError, match="No module named 'not_there_at_all'") as raised:
        app.load_topology(module("import not_there_at_all"), {})
    assert "made_for_test.py:1: " in str(raised.value)
    assert "    import not_there_at_all" in str(raised.value).splitlines()


def test_parameters_are_shared_out_to_those_that_have_them():
    enrich, popular = app.load_topologies([ENRICH, POPULAR], {"window": "2 hours"})
    assert (enrich.app, popular.app) == ("uber-enrich", "uber-popular")
    assert app.taken(POPULAR, {"window": "1 day", "centroids": "c"}) == {"window": "1 day"}


def test_a_parameter_that_none_has_is_refused():
    with pytest.raises(TopologyError, match="has a parameter 'windows'") as raised:
        app.load_topologies([ENRICH, POPULAR], {"windows": "1 day"})
    assert "window" in raised.value.remedy


@pytest.mark.parametrize("parameter", ["app", "input", "output"])
def test_a_parameter_that_is_each_ones_own_is_refused_for_two(parameter):
    with pytest.raises(TopologyError, match=f"--set {parameter}="):
        app.load_topologies([ENRICH, POPULAR], {parameter: "x"})
    app.load_topologies([POPULAR], {parameter: "x"})


def test_one_application_cannot_run_twice():
    with pytest.raises(TopologyError, match="one application id"):
        app.load_topologies([ENRICH, ENRICH], {})


def test_a_parameter_of_another_type_is_refused(module):
    with pytest.raises(TopologyError, match="size='big' is no int"):
        app.load_topologies([f"{module(MANY)}:three"], {"size": "big"})


# Topics.


def plans():
    return app.load_topologies([ENRICH, POPULAR], {})


ALL = {"trips", "trips-enriched", "trips-dead-letters", "popular-clusters",
       "trips-enriched-dead-letters"}  # fmt: skip


def test_topics_of_a_plan():
    source, written = app.topics_of(plans()[0])
    assert source == "trips"
    assert written == {"trips-enriched", "trips-dead-letters"}


def test_late_records_have_a_topic_too():
    _, written = app.topics_of(windowed(late="behind").plan())
    assert written == {"out", "dead", "behind"}


def test_topics_of_the_embedded_log_are_made():
    log = MemoryLog()
    counts = app.prepare_topics(log, plans(), Settings())
    assert counts == {"uber-enrich": app.PARTITIONS, "uber-popular": app.PARTITIONS}
    assert log.describe(ALL).keys() == ALL


def test_topics_that_exist_are_left_alone():
    log = MemoryLog()
    log.create({"trips": 2})
    counts = app.prepare_topics(log, plans(), Settings(create_topics=7))
    assert counts == {"uber-enrich": 2, "uber-popular": 7}
    assert app.prepare_topics(log, plans(), Settings(create_topics=9)) == counts


def test_topics_elsewhere_are_made_only_when_asked_for():
    log = MemoryLog()
    log.create({"trips": 2})
    with pytest.raises(SettingsError, match="topics are missing: popular-clusters, ") as raised:
        app.prepare_topics(log, plans(), Settings(bootstrap_servers="h:1"))
    assert "--create-topics" in raised.value.remedy
    assert log.describe(ALL).keys() == {"trips"}
    wanted = Settings(bootstrap_servers="h:1", create_topics=True)
    assert app.prepare_topics(log, plans(), wanted)["uber-popular"] == app.PARTITIONS


def test_ends_are_those_of_the_input():
    log = MemoryLog()
    log.create({"trips": 2})
    log.feed("trips", [b"a", b"b"], partition=1)
    assert app.ends_of(log, plans()[0]) == {
        TopicPartition("trips", 0): 0,
        TopicPartition("trips", 1): 2,
    }


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(slots.tempfile, "gettempdir", lambda: str(tmp_path))


# A worker.


def test_a_worker_runs_until_it_has_caught_up_and_reports_its_batches():
    log = MemoryLog()
    used = app.Backends(log, MemoryStore(), "")
    settings = Settings(interval=timedelta(0), create_topics=2)
    (plan,) = app.load_topologies([ENRICH], {})
    counts = app.prepare_topics(log, [plan], settings)
    log.feed("trips", [b"2014-08-01 00:00:00,40.7,-73.9,B02598", b"bad"])
    reports = []
    app.run_worker(
        plan, settings, used, counts[plan.app], threading.Event(),
        ends=app.ends_of(log, plan), host=app.Host(on_batch=reports.append),
    )  # fmt: skip
    assert sum(report.records_in for report in reports) == 2
    assert sum(report.dead_lettered for report in reports) == 1
    assert len(log.read("trips-enriched")) == 1


def test_a_worker_stops_when_told():
    log = MemoryLog()
    used = app.Backends(log, MemoryStore(), "")
    (plan,) = app.load_topologies([ENRICH], {})
    counts = app.prepare_topics(log, [plan], Settings())
    stop = threading.Event()
    stop.set()
    app.run_worker(plan, Settings(), used, counts[plan.app], stop)


def test_backends_embed_what_is_not_named():
    with app.backends(Settings()) as used:
        assert "log: embedded" in used.line
        assert "embedded Redis in a temporary directory" in used.line
        used.store.ping()


def test_a_batch_is_larger_where_records_meet_in_state_unless_its_size_is_given():
    plans = {
        name: app.load_topology(f"topologies.uber.{name}", {}) for name in ("enrich", "popular")
    }
    sizes = {n: app.options_of(Settings(), plan).limits.records_max for n, plan in plans.items()}
    assert sizes == {"enrich": 40_000, "popular": 60_000}
    given = Settings(batch_records_max=7)
    assert {app.options_of(given, plan).limits.records_max for plan in plans.values()} == {7}
