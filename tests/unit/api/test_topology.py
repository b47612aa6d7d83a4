from __future__ import annotations

from pathlib import Path

import pytest

from processor import Text, Topology, TopologyError
from topologies.uber.enrich import enrich
from topologies.uber.popular import popular


@Topology.define
def copy(
    *,
    app: str = "copy",
    count: int = 1,
    ratio: float = 0.5,
    on: bool = False,
    file: Path = Path("x"),
) -> Topology:
    topology = Topology(f"{app}-{count}-{ratio}-{on}-{file.name}")
    topology.read.kafka("in", format=Text()).write.kafka("out", format=Text())
    return topology


@pytest.mark.parametrize("app", ["", "a b", "a/b", "ä"])
def test_an_application_id_that_no_broker_takes_is_refused_at_its_line(app: str) -> None:
    with pytest.raises(TopologyError, match=r"test_topology\.py:\d+: application id"):
        Topology(app)


def test_parameters_come_as_text_and_arrive_in_their_types() -> None:
    assert copy.build().plan().app == "copy-1-0.5-False-x"
    values = {"app": "a", "count": "7", "ratio": "1e3", "on": "Yes", "file": "there/y"}
    assert copy.build(values).plan().app == "a-7-1000.0-True-y"


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"nothing": "1"}, "copy has no parameter 'nothing'"),
        ({"count": "many"}, "count='many' is no int"),
        ({"ratio": ""}, "ratio='' is no float"),
        ({"on": "maybe"}, "on='maybe' is no bool"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(values: dict[str, str], what: str) -> None:
    with pytest.raises(TopologyError, match=what) as caught:
        copy.build(values)
    assert caught.value.remedy


def test_a_definition_tells_its_parameters() -> None:
    assert copy.name == "copy"
    assert copy.describe()["count"] == ("int", "1")


def test_a_parameter_without_a_default_or_with_another_type_is_refused() -> None:
    def bare(*, app: str) -> Topology:
        return Topology(app)

    def other(*, names: list = []) -> Topology:  # noqa: B006
        return Topology(str(names))

    for function in (bare, other):
        with pytest.raises(TopologyError, match="needs a default and a type"):
            Topology.define(function)


@pytest.mark.parametrize("value", ["ignore", "", "FAIL"])
def test_an_unknown_way_to_handle_errors_is_refused(value: str) -> None:
    with pytest.raises(TopologyError, match="on_error="):
        Topology("a").read.kafka("in", format=Text(), on_error=value)


def test_the_topologies_that_come_along_can_run(tmp_path: Path) -> None:
    path = tmp_path / "centroids.json"
    path.write_text('{"centroids": [[40.7, -73.9]]}')
    plan = enrich.build({"centroids": str(path)}).plan()
    assert (plan.app, plan.source().topic, plan.sinks[0].topic) == (
        "uber-enrich", "trips", "trips-enriched"
    )  # fmt: skip
    plan = popular.build({"window": "5 minutes"}).plan()
    assert plan.sinks[0].mode == "update"
    assert plan.source().partitioned_by == ("cluster",)
