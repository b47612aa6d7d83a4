"""Which registry the formats of a plan ask."""

from __future__ import annotations

import json

import pytest

from processor import JsonSchema, Registered, Registry, Topology
from processor.app.registries import connect_registries, prepare_schemas
from processor.errors import RegistryAwayError, RegistryError, SettingsError
from processor.settings import Settings

ORDER = {"type": "object", "properties": {"id": {"type": "integer"}}}


def plan(registry=None, **sink):
    given = {} if registry is None else {"registry": registry}
    topology = Topology("t")
    rows = topology.read.kafka("in", format=Registered(JsonSchema(ORDER), **given))
    rows.write.kafka("out", format=Registered(JsonSchema(ORDER), **given, **sink))
    return topology.plan()


def settings(**given):
    return Settings(bootstrap_servers="broker:1", **given)


def names(made):
    return {form.schemas.name for form in (made.source().format, made.sinks[0].format)}


def test_the_settings_say_where_it_is_unless_the_topology_does():
    made = plan()
    connect_registries([made], settings(schema_registry_url="http://a:1"))
    assert names(made) == {"the schema registry at http://a:1"}
    made = plan(Registry("http://b:2"))
    connect_registries([made], settings(schema_registry_url="http://a:1"))
    assert names(made) == {"the schema registry at http://b:2"}


@pytest.mark.parametrize("own", [Registry("mock://a"), None])
def test_a_registry_in_memory_is_of_no_use_with_a_broker(own):
    made = plan(own)
    with pytest.raises(SettingsError, match=r"test_connect.py:\d+: 'in' .*no other process sees"):
        connect_registries([made], settings(schema_registry_url="mock://a"))
    connect_registries([made], Settings(schema_registry_url="mock://a"))


def test_settings_that_can_never_work_are_refused_and_not_waited_for():
    given = settings(
        schema_registry_url="http://user:hunter2@a:1",
        schema_registry={"basic.auth.user.info": "user:hunter2"},
    )
    with pytest.raises(RegistryError, match="onfigured") as refused:
        connect_registries([plan()], given)
    assert not isinstance(refused.value, RegistryAwayError)
    assert "hunter2" not in str(refused.value)
    assert "does not agree" in refused.value.remedy


def test_all_that_ask_one_registry_share_a_client():
    first, second = plan(), plan()
    given = settings(schema_registry_url="http://a:1", schema_registry={"timeout": "1"})
    connect_registries([first, second], given)
    assert first.source().format.schemas is second.sinks[0].format.schemas
    other = plan(Registry(client={"timeout": "2"}))
    connect_registries([other], given)
    assert other.source().format.schemas is not first.source().format.schemas


def test_where_nothing_says_it_the_line_is_told_and_the_embedded_log_has_one_in_memory():
    with pytest.raises(SettingsError, match=r"test_connect.py:\d+: 'in' has schemas") as error:
        connect_registries([plan()], settings())
    assert "--schema-registry-url" in error.value.remedy
    made = plan(auto_register=True)
    connect_registries([made], Settings())
    prepare_schemas([made])
    assert made.sinks[0].format.known().number >= 1


def test_a_plan_without_a_registry_needs_none():
    topology = Topology("t")
    topology.read.kafka("in", format=JsonSchema(ORDER)).write.kafka("out")
    connect_registries([topology.plan()], settings())
    prepare_schemas([topology.plan()])


def test_what_a_sink_writes_is_looked_up_before_the_run_with_its_line(registry):
    given = settings(schema_registry_url=registry.url, schema_registry={"max.retries": "0"})
    made = plan()
    connect_registries([made], given)
    with pytest.raises(RegistryError, match=r"test_connect.py:\d+: .* has not the schema of 'out'"):
        prepare_schemas([made])
    assert "out-value" not in registry.subjects
    registry.register("out-value", json.dumps(ORDER), "JSON")
    prepare_schemas([made])
    registry.stop()
    prepare_schemas([made])
    later = plan(Registry(client={"timeout": "1"}))  # by a client that knows nothing yet
    connect_registries([later], given)
    with pytest.raises(RegistryAwayError):
        prepare_schemas([later])


def test_on_a_log_that_is_kept_a_registry_in_memory_would_forget_what_its_records_need():
    kept = {"data_dir": "data"}
    with pytest.raises(SettingsError, match=r"test_connect.py:\d+: 'in' has schemas") as error:
        connect_registries([plan()], Settings(**kept))
    assert "--schema-registry-url" in error.value.remedy
    with pytest.raises(SettingsError, match="no other process sees"):
        connect_registries([plan(Registry("mock://a"))], Settings(**kept))
    connect_registries([plan()], Settings(schema_registry_url="http://a:1", **kept))
