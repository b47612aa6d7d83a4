"""A schema registry that is away: the batch waits, and nothing is lost, doubled or out of order."""

from __future__ import annotations

import json
import struct

import polars as pl
import pytest

from processor import JsonSchema, Registered, Topology
from processor import functions as F
from processor.clock import ManualClock
from processor.connectors.registry.client import Client
from processor.engine.running import loop
from processor.engine.running.patience import Patience
from processor.errors import RegistryAwayError, SchemaChangeError
from processor.testing import TestDriver

SPENT = {"type": "object", "required": ["user", "cents"],
         "properties": {"user": {"type": "string"}, "cents": {"type": "integer"}}}  # fmt: skip
NEWER = {**SPENT, "properties": {**SPENT["properties"], "shop": {"type": "string"}}}
TEXT_CENTS = {**SPENT, "properties": {**SPENT["properties"], "cents": {"type": "string"}}}
TOTAL = {"type": "object", "required": ["user", "total"],
         "properties": {"user": {"type": "string"}, "total": {"type": "integer"}}}  # fmt: skip
QUICK = {"timeout": "0.3", "max.retries": "0"}


def spending(**kwargs):
    topology = Topology("spending")
    rows = topology.read.kafka(
        "spent", format=Registered(JsonSchema(SPENT), **kwargs), partitioned_by="user"
    )
    totals = rows.group_by("user").agg(total=F.sum("cents"))
    form = Registered(JsonSchema(TOTAL), auto_register=True)
    totals.write.kafka("totals", key="user", mode="update", format=form)
    return topology


def driver_of(registry, topology=None, **kwargs):
    return TestDriver(topology or spending(), registry=Client(registry.url, QUICK), **kwargs)


def spent(registry, cents, schema=SPENT):
    number = registry.register("spent-value", json.dumps(schema), "JSON")
    return b"\0" + struct.pack(">I", number) + b'{"user":"ann","cents":%d}' % cents


def totals(driver):
    return [json.loads(value[5:])["total"] for value in driver.values("totals")]


def read_so_far(driver):
    return sum(head.offset for head in driver.committed().values())


def run_until_away(driver):
    for _ in range(10):
        try:
            driver.turn()
        except RegistryAwayError:
            return
    pytest.fail("nothing was asked for")


def test_down_at_start_nothing_is_committed_until_it_is_there(registry):
    value = spent(registry, 1)
    registry.stop()
    driver = driver_of(registry)
    driver.feed([value, value], key="ann")
    for _ in range(3):
        run_until_away(driver)
        assert read_so_far(driver) == 0
        assert (driver.values("totals"), driver.dead_letters()) == ([], [])
    registry.start()
    driver.run()
    assert totals(driver) == [2]
    assert driver.dead_letters() == []


def test_down_while_running_known_schemas_go_on_and_new_ones_wait(registry):
    driver = driver_of(registry)
    driver.feed([spent(registry, 1)], key="ann")
    driver.run()
    newer = spent(registry, 10, NEWER)
    registry.stop()
    driver.feed([spent(registry, 2)], key="ann")
    driver.run()
    assert totals(driver) == [1, 3]
    driver.feed([spent(registry, 3), newer, spent(registry, 4), b"none"], key="ann")
    run_until_away(driver)
    run_until_away(driver)
    assert totals(driver) == [1, 3]
    assert driver.dead_letters() == []
    registry.start()
    driver.run()
    assert totals(driver) == [1, 3, 20]
    assert [letter.value() for letter in driver.dead_letters()] == [b"none"]


def test_a_registry_that_is_silent_is_waited_for(registry):
    value = spent(registry, 5)
    driver = driver_of(registry)
    driver.feed([value], key="ann")
    with registry.silent():
        run_until_away(driver)
        assert read_so_far(driver) == 0
    driver.run()
    assert totals(driver) == [5]


def test_away_when_the_sinks_schema_is_asked_for_state_is_as_before(registry):
    driver = driver_of(registry)
    value = spent(registry, 5)
    driver.feed([value], key="ann")
    source = driver.plan.source().format
    # The source's schema is known, the sink's is not yet.
    source.decode([value])
    registry.stop()
    run_until_away(driver)
    assert read_so_far(driver) == 0
    registry.start()
    driver.run()
    assert totals(driver) == [5]


def test_a_worker_that_is_killed_meanwhile_computes_each_once(registry):
    driver = driver_of(registry)
    driver.feed([spent(registry, 1)], key="ann")
    driver.run()
    driver.feed([spent(registry, 10, NEWER)], key="ann")
    registry.stop()
    run_until_away(driver)
    driver.kill()
    driver.expire()
    driver.restart()
    run_until_away(driver)
    registry.start()
    driver.run()
    assert totals(driver) == [1, 11]


def test_lost_state_is_healed_once_the_registry_is_back(registry):
    driver = driver_of(registry, on_checkpoint_loss="replay")
    driver.feed([spent(registry, 1), spent(registry, 2)], key="ann")
    driver.run()
    driver.kill()
    driver.expire()
    later = driver_of(registry, on_checkpoint_loss="replay", log=driver.log)
    registry.stop()
    later.feed([spent(registry, 4)], key="ann")
    run_until_away(later)
    run_until_away(later)
    registry.start()
    later.run()
    assert totals(later) == [3, 7]
    assert [healed.how for healed in later.healed] == ["replay"]


def test_the_loop_waits_with_pauses_and_is_not_ready(registry):
    value = spent(registry, 5)
    registry.stop()
    driver = driver_of(registry)
    driver.feed([value], key="ann")
    worker, clock, told = driver._workers[0], ManualClock(), []

    def wait(seconds):
        assert not worker.ready
        clock.advance(seconds)
        if len(told) == 4:
            registry.start()

    patience = Patience(clock, wait, tell=lambda error, pause_s: told.append((error, pause_s)))
    worker.close(leave=True)
    loop.run(worker, clock, patience, stop=lambda: bool(driver.values("totals")))
    assert [pause_s for _, pause_s in told][:4] == [0.0, 0.1, 0.2, 0.4]
    assert {type(error) for error, _ in told} == {RegistryAwayError}
    assert totals(driver) == [5]


def test_the_loop_gives_up_with_the_reason_when_it_has_lasted_too_long(registry):
    value = spent(registry, 5)
    registry.stop()
    driver = driver_of(registry)
    driver.feed([value], key="ann")
    worker, clock = driver._workers[0], ManualClock()
    worker.close(leave=True)
    patience = Patience(clock, clock.advance, give_up_after_s=20)
    with pytest.raises(RegistryAwayError, match="given up after"):
        loop.run(worker, clock, patience, stop=lambda: False)
    assert driver.values("totals") == []


def test_a_deleted_schema_makes_dead_letters_only_for_who_never_read_it(registry):
    driver = driver_of(registry)
    value = spent(registry, 1)
    driver.feed([value], key="ann")
    driver.run()
    registry.delete("spent-value")
    driver.feed([value], key="ann")
    driver.run()
    assert totals(driver) == [1, 2]
    later = driver_of(registry)
    later.feed([value], key="ann")
    later.run()
    (letter,) = later.dead_letters()
    assert letter.value() == value
    assert b"has no schema 1" in dict(letter.headers())["processor.error"]


def test_a_change_that_is_to_stop_the_run_stops_it_before_anything_is_committed(registry):
    driver = driver_of(registry, spending(on_schema_change="stop"))
    driver.feed([spent(registry, 1)], key="ann")
    driver.run()
    before = driver.committed()
    driver.feed([spent(registry, 2), spent(registry, 3, TEXT_CENTS)], key="ann")
    with pytest.raises(
        SchemaChangeError, match=r"spent\[0\] offset 2: records are written with a schema"
    ):
        driver.run()
    assert driver.committed() == before
    assert totals(driver) == [1]


def test_a_change_makes_dead_letters_by_default_and_the_rest_goes_on(registry):
    driver = driver_of(registry)
    changed = spent(registry, 3, TEXT_CENTS)
    driver.feed([spent(registry, 1), changed, spent(registry, 2)], key="ann")
    driver.run()
    assert totals(driver) == [3]
    assert [letter.value() for letter in driver.dead_letters()] == [changed]


def test_numbers_in_headers_go_through_a_topology(registry):
    topology = Topology("copy")
    form = Registered(JsonSchema(SPENT), id_in="header", auto_register=True)
    rows = topology.read.kafka("spent", format=form)
    rows.write.kafka("out", format=form, key="user", headers={"by": "user"})
    driver = driver_of(registry, topology)
    driver.feed([{"user": "ann", "cents": 1}])
    driver.feed([b'{"user":"bob","cents":1}'])
    driver.run()
    (message,) = driver.read("out")
    out = driver.plan.sinks[0].format
    assert message.value() == b'{"user":"ann","cents":1}'
    assert list(message.headers()) == [("by", b"ann"), out.header()]
    assert len(driver.dead_letters()) == 1


def test_a_test_driver_has_a_registry_of_its_own_in_memory():
    first, second = TestDriver(spending()), TestDriver(spending())
    assert first.registry is not second.registry
    first.feed([{"user": "ann", "cents": 4}], key="ann")
    first.run()
    assert totals(first) == [4]
    assert isinstance(first.plan.sinks[0].format.decode(first.values("totals")).frame, pl.DataFrame)


def test_without_a_format_that_has_one_there_is_no_registry():
    topology = Topology("copy")
    topology.read.kafka("a", format=JsonSchema(SPENT)).write.kafka("b", format=JsonSchema(SPENT))
    assert TestDriver(topology).registry is None
