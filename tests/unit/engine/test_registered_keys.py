"""Keys with the schemas of a registry: read, written, placed by their bytes, and never moved."""

from __future__ import annotations

import json
import struct

import polars as pl
import pytest

from processor import Avro, Bytes, Json, JsonSchema, Protobuf, Registered, Topology
from processor import functions as F
from processor.app.registries import prepare_schemas
from processor.app.screen import Screen
from processor.cli.verify import verified
from processor.connectors.partitioner import partition as murmur2
from processor.connectors.registry.client import Client
from processor.engine.offline.rescale import rescale
from processor.errors import (
    RegistryAwayError,
    RegistryError,
    SchemaChangeError,
    StateMismatchError,
)
from processor.formats.framing import HEADERS
from processor.formats.registry import Schema, Wanted
from processor.model.log import NULL_KEYS
from processor.plan.fingerprint import identity
from processor.testing import TestDriver
from tests.shop import class_of, shop
from tests.unit.engine.offline.test_rescale import again, raised

USER = {"type": "record", "name": "User", "fields": [
    {"name": "shop", "type": "string"}, {"name": "user", "type": "long"},
]}  # fmt: skip
TOLD = {**USER, "doc": "the same, with a word about it"}
NARROW = {**USER, "fields": [USER["fields"][0], {"name": "user", "type": "int"}]}
OTHER = {**USER, "fields": [USER["fields"][0], {"name": "user", "type": "string"}]}
MAYBE = {"type": "record", "name": "User", "fields": [
    {"name": "user", "type": ["null", "long"], "default": None},
]}  # fmt: skip
QUICK = {"timeout": "0.3", "max.retries": "0"}


def cents():
    return Json({"cents": pl.Int64})


def baskets(reads=USER, writes=USER, *, read=None, write=None):
    """Sums by a key of two columns."""
    topology = Topology("baskets")
    rows = topology.read.kafka(
        "items", format=cents(), key_format=Registered(Avro(reads), **(read or {})),
        partitioned_by=["shop", "user"],
    )  # fmt: skip
    totals = rows.group_by("shop", "user").agg(cents=F.sum("cents"))
    form = Registered(Avro(writes), auto_register=True, **(write or {}))
    totals.write.kafka("baskets", key=["shop", "user"], key_format=form, mode="update")
    return topology


def copied(form, written=None, **kwargs):
    topology = Topology("copied")
    rows = topology.read.kafka("items", format=cents(), key_format=form, **kwargs)
    rows.write.kafka("out", key=list(form.columns), key_format=written or form)
    return topology


def key(number, shop_, user):
    return (
        b"\0" + struct.pack(">I", number) + Avro(USER).records([{"shop": shop_, "user": user}])[0]
    )


def put(driver, schema, subject="items-key"):
    return driver.registry.register(subject, Wanted(Schema("AVRO", json.dumps(schema)))).number


def reasons(driver):
    return [dict(m.headers())["processor.error"].decode() for m in driver.dead_letters()]


def test_keys_are_read_as_columns_and_written_with_the_schemas_number():
    driver = TestDriver(baskets())
    driver.feed([{"cents": 5}, {"cents": 6}], key={"shop": "a", "user": 7})
    driver.run()
    (record,) = driver.read("baskets")
    number = driver.plan.sinks[0].key_format.known().number
    assert record.key() == key(number, "a", 7)
    assert driver.json("baskets") == [{"shop": "a", "user": 7, "cents": 11}]
    assert sorted(driver.registry.client.get_subjects()) == ["baskets-key", "items-key"]
    assert driver.noted == []


def test_keys_of_several_schemas_in_one_batch_are_read_each_by_its_own():
    driver = TestDriver(copied(Registered(Avro(USER), auto_register=True)))
    numbers = [put(driver, USER), put(driver, NARROW)]
    for n in range(6):
        driver.feed([{"cents": n}], key=key(numbers[n % 2], "a", n))
    driver.run()
    assert [(row["shop"], row["user"]) for row in driver.json("out")] == [
        ("a", n) for n in range(6)
    ]
    assert len(driver.reports) == 1


def test_a_key_that_cannot_be_read_makes_its_record_bad_with_the_reason():
    driver = TestDriver(copied(Registered(Avro(USER), auto_register=True)))
    number, other = put(driver, USER), put(driver, OTHER)
    good = key(number, "a", 7)
    keys = [good, good[:-1], b"\0\0\0", b"{}", key(77, "a", 7), key(other, "a", 7), None, b"", good]
    for each in keys:
        driver.feed([{"cents": 1}], key=each)
    driver.run()
    assert len(driver.values("out")) == 2
    found = reasons(driver)
    assert all(reason.startswith("key: ") for reason in found)
    assert len(found) == 7
    assert "key: it begins with '{', as JSON does, and not with 0 and a schema's number" in found
    assert "key: it ends within the schema's number, after 3 bytes" in found
    assert "key: the schema registry at mock://test has no schema 77" in found
    assert "key: the record has none" in found
    assert "key: it is empty" in found
    assert sum("does not fit" in reason for reason in found) == 1


def test_a_change_of_the_keys_schema_that_is_to_stop_the_run_says_that_it_is_the_keys():
    form = Registered(Avro(USER), auto_register=True, on_schema_change="stop")
    driver = TestDriver(copied(form))
    driver.feed([{"cents": 1}], key=key(put(driver, OTHER), "a", 7))
    with pytest.raises(
        SchemaChangeError, match=r"items\[0\] offset 0: keys are written with a schema"
    ):
        driver.run()
    assert driver.values("out") == []


def test_a_column_that_may_be_null_is_null_where_a_keys_schema_has_another_type():
    mine = {**USER, "fields": [USER["fields"][0], MAYBE["fields"][0]]}
    form = Registered(Avro(mine), auto_register=True, on_schema_change="continue")
    driver = TestDriver(copied(form))
    driver.feed([{"cents": 1}], key=b"\0" + struct.pack(">I", put(driver, OTHER)) + b"\2a\2x")
    driver.run()
    assert driver.dead_letters() == []
    assert driver.json("out") == [{"cents": 1, "shop": "a", "user": None}]


@pytest.mark.parametrize(
    ("form", "row"),
    [
        (JsonSchema({"type": "object", "title": "K", "required": ["sku"],
                     "properties": {"sku": {"type": "string"}}}), {"sku": "a"}),
        (Protobuf(class_of(shop(), "shop.Line")), {"sku": "a", "count": 7}),
    ],
)  # fmt: skip
def test_keys_may_be_of_any_format_with_schemas(form, row):
    driver = TestDriver(copied(Registered(form, auto_register=True)))
    driver.feed([{"cents": 1}], key=row)
    driver.run()
    assert driver.json("out") == [{"cents": 1} | row]
    (record,) = driver.read("out")
    assert driver.plan.sinks[0].key_format.decode([record.key()]).frame.to_dicts() == [row]


@pytest.mark.parametrize(
    ("how", "subject"),
    [("topic", "out-key"), ("record", "User"), ("topic_record", "out-User")],
)
def test_subjects_of_keys_are_called_after_topic_or_record(how, subject):
    driver = TestDriver(copied(Registered(Avro(USER), subjects=how, auto_register=True)))
    driver.feed([{"cents": 1}], key={"shop": "a", "user": 7})
    driver.run()
    assert subject in driver.registry.client.get_subjects()


def test_one_format_may_be_of_values_and_of_keys():
    form = Registered(Avro(USER), auto_register=True)
    topology = Topology("both")
    rows = topology.read.kafka("in", format=form, key_format=form, key_prefix="key_")
    rows.select("shop", "user").write.kafka("out", format=form, key=["shop", "user"],
                                            key_format=form)  # fmt: skip
    driver = TestDriver(topology)
    driver.feed([{"shop": "a", "user": 7}], key={"shop": "a", "user": 8})
    driver.run()
    assert sorted(driver.registry.client.get_subjects()) == [
        "in-key", "in-value", "out-key", "out-value",
    ]  # fmt: skip
    (record,) = driver.read("out")
    assert record.key()[5:] == record.value()[5:]


def test_a_key_lies_where_murmur2_of_all_its_bytes_puts_it_and_a_null_key_has_no_bytes():
    form = Registered(Avro(MAYBE), auto_register=True)
    topology = copied(form)
    driver = TestDriver(topology, partitions=8)
    for user in [*range(40), None]:
        driver.feed([{"cents": 1}], key=None if user is None else {"user": user})
    driver.feed([{"cents": 1}], key={"user": None})
    driver.run()
    assert driver.dead_letters() == []
    written = driver.read("out")
    keyless = [m for m in written if m.key() is None]
    assert [m.partition() for m in keyless] == [NULL_KEYS] * 2
    keyed = [m for m in written if m.key() is not None]
    assert len(keyed) == 40
    assert all(m.partition() == murmur2(m.key(), 8) for m in keyed)
    assert len({m.partition() for m in keyed}) > 1


def test_tombstones_keep_their_keys():
    form = Registered(Avro(USER), auto_register=True)
    topology = Topology("copied")
    body = Bytes(tombstones=True)
    rows = topology.read.kafka("items", format=body, key_format=form)
    rows.write.kafka("out", format=body, key=["shop", "user"], key_format=form)
    driver = TestDriver(topology)
    driver.feed([b"x", None], key={"shop": "a", "user": 7})
    driver.run()
    written = driver.read("out")
    assert [message.value() for message in written] == [b"x", None]
    number = driver.plan.sinks[0].key_format.known().number
    assert {message.key() for message in written} == {key(number, "a", 7)}


def test_numbers_of_keys_may_be_in_headers_and_the_bytes_are_the_formats_alone():
    form = Registered(Avro(USER), auto_register=True, id_in="header")
    topology = Topology("copied")
    rows = topology.read.kafka("items", format=cents(), key_format=form, headers="h")
    rows.write.kafka("out", key=["shop", "user"], key_format=form, headers="h")
    driver = TestDriver(topology)
    number = put(driver, NARROW)
    bare = key(1, "a", 7)[5:]
    told = {HEADERS["key"]: b"\0" + struct.pack(">I", number), "x": b"y"}
    driver.feed([{"cents": 1}], key=bare, headers=told)
    driver.feed([{"cents": 1}], key=bare)
    driver.run()
    (record,) = driver.read("out")
    assert record.key() == bare
    # What the input's key was written with is not what this one was.
    assert record.headers() == [("x", b"y"), driver.plan.sinks[0].key_format.header()]
    assert record.headers()[1][0] == "__key_schema_id"
    (reason,) = reasons(driver)
    assert reason.startswith("key: it begins with the byte 2")


def test_a_record_without_a_key_has_no_header_of_a_keys_schema():
    form = Registered(Avro(MAYBE), auto_register=True, id_in="header")
    driver = TestDriver(copied(form))
    driver.feed([{"cents": 1}])
    driver.run()
    (record,) = driver.read("out")
    assert (record.key(), record.headers() or []) == (None, [])


# Where keys lie.


def test_a_schema_of_keys_that_would_move_them_is_not_registered_without_a_word():
    driver = TestDriver(baskets())
    driver.feed([{"cents": 5}], key={"shop": "a", "user": 7})
    driver.run()
    changed = TestDriver(baskets(writes=TOLD), registry=driver.registry)
    with pytest.raises(
        RegistryError, match=r"the schema of the key of 'baskets' is another one"
    ) as e:
        prepare_schemas([changed.plan])
    assert "to other partitions" in e.value.message
    assert "test_registered_keys.py" in e.value.message
    assert "register the schema yourself" in e.value.remedy
    put(driver, TOLD, "baskets-key")
    prepare_schemas([changed.plan])


def test_a_schema_that_no_bytes_of_keys_tell_is_registered():
    how = {"write": {"id_in": "header"}}
    driver = TestDriver(baskets(**how))
    prepare_schemas([driver.plan])
    changed = TestDriver(baskets(writes=TOLD, **how), registry=driver.registry)
    prepare_schemas([changed.plan])
    assert len(driver.registry.versions("baskets-key", "AVRO")) == 2


def test_keys_of_a_second_schema_are_told_where_groups_count_on_their_places():
    driver = TestDriver(baskets(), partitions=8)
    numbers = [put(driver, USER), put(driver, NARROW)]
    for user in range(30):
        driver.feed([{"cents": 1}], key=key(numbers[0], "a", user))
    driver.run()
    assert driver.noted == []
    for user in range(30):
        driver.feed([{"cents": 1}], key=key(numbers[1], "a", user))
    driver.run()
    told = [note for note in driver.noted if "are written with the schemas" in note]
    assert len(told) == 1
    assert f"items: keys are written with the schemas {numbers[0]}, {numbers[1]}" in told[0]
    assert any("a group in each of two partitions" in note for note in driver.noted)
    assert sum(report.misplaced for report in driver.reports) > 0


def test_on_one_partition_a_second_schema_moves_nothing_and_is_not_told():
    driver = TestDriver(baskets())
    for number in (put(driver, USER), put(driver, NARROW)):
        driver.feed([{"cents": 1}], key=key(number, "a", 7))
    driver.run()
    assert driver.noted == []
    assert driver.json("baskets")[-1]["cents"] == 2


def test_state_is_dealt_out_to_more_partitions_by_the_bytes_with_the_number():
    driver = TestDriver(baskets(), partitions=4)
    for user in range(40):
        driver.feed([{"cents": 1}], key={"shop": "a", "user": user})
    driver.run()
    done = rescale(raised(driver, topic="items").plan, driver.log, driver.store, 8)
    assert done is not None
    assert done.groups == 40
    driver = again(driver, baskets(), registry=driver.registry)
    for user in range(40):
        driver.feed([{"cents": 1}], key={"shop": "a", "user": user})
    driver.run()
    number = driver.plan.source().key_format.known().number
    found = {
        (row["user"], row["cents"]): place.partition
        for place, rows in driver.state().items()
        for row in rows["aggregate-0"]
    }
    assert {cents for _, cents in found} == {2}
    assert all(place == murmur2(key(number, "a", user), 8) for (user, _), place in found.items())


def test_state_by_keys_of_another_schema_than_the_formats_own_is_not_dealt_out():
    driver = TestDriver(baskets(), partitions=4)
    number = put(driver, NARROW)
    for user in range(40):
        driver.feed([{"cents": 1}], key=key(number, "a", user))
    driver.run()
    with pytest.raises(
        StateMismatchError, match="which bytes a key of 'items' has is not known"
    ) as e:
        rescale(raised(driver, topic="items").plan, driver.log, driver.store, 8)
    assert "the schema that keys are written with" in e.value.remedy
    put(driver, USER)
    with pytest.raises(StateMismatchError, match="belongs to partition"):
        rescale(driver.plan, driver.log, driver.store, 8)


# What else a run does.


def test_a_registry_that_is_away_is_waited_for_and_no_key_is_a_bad_one(registry):
    number = registry.register("items-key", json.dumps(USER))
    registry.stop()
    driver = TestDriver(baskets(), registry=Client(registry.url, QUICK))
    driver.feed([{"cents": 1}], key=key(number, "a", 7))

    def away():
        for _ in range(10):
            driver.turn()

    for _ in range(2):
        with pytest.raises(RegistryAwayError):
            away()
        assert (driver.values("baskets"), driver.dead_letters()) == ([], [])
    registry.start()
    driver.run()
    assert [row["cents"] for row in driver.json("baskets")] == [1]


def test_what_was_published_by_such_keys_is_verified_and_a_wrong_key_is_found():
    driver = TestDriver(baskets())
    driver.feed([{"cents": 5}], key={"shop": "a", "user": 7})
    driver.feed([{"cents": 5}], key={"shop": "b", "user": 7})
    driver.run()
    assert verified(driver.plan, driver.log).findings == []


def test_a_dead_letter_keeps_its_keys_bytes_there_and_back():
    driver = TestDriver(copied(Registered(Avro(USER), auto_register=True)))
    driver.feed([{"cents": 1}], key=key(5, "a", 7))
    driver.run()
    (letter,) = driver.dead_letters()
    assert letter.key() == key(5, "a", 7)
    for number in range(1, 6):  # the registry comes to know it
        put(driver, {**USER, "doc": str(number)})
    assert driver.redrive().sent == 1
    driver.run()
    assert {message.key() for message in driver.read("items")} == {key(5, "a", 7)}
    assert [row["user"] for row in driver.json("out")] == [7]


def test_keys_are_shown_on_the_screen_as_json(capsys):
    driver = TestDriver(copied(Registered(Avro(USER), auto_register=True)))
    driver.feed([{"cents": 1}], key={"shop": "a", "user": 7})
    driver.run()
    Screen(driver.log, [driver.plan], everything=True).show()
    assert '\t{"shop":"a","user":7}\t' in capsys.readouterr().out


def test_a_format_of_values_says_nothing_of_keys_in_the_identity():
    form = Registered(Avro(USER), auto_register=True)
    one, other = copied(form).plan(), copied(Avro(USER)).plan()
    assert identity(one) != identity(other)
    assert identity(one) == identity(copied(form).plan())
