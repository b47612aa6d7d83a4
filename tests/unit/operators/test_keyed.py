"""Keys that have a format: read as columns, written of columns, and what a topic is keyed by."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor import CloudEvents, Csv, Json, Text, Topology, TopologyError
from processor import functions as F
from processor.app.feed import feed
from processor.connectors.memory.log import MemoryLog
from processor.connectors.partitioner import partition as murmur2
from processor.errors import SettingsError
from processor.plan import compacted
from processor.plan.describe import describe
from processor.plan.fingerprint import describe as state_of
from processor.plan.fingerprint import identity
from processor.testing import TestDriver
from tests.property.profile import QUICK

KEY = {"shop": pl.String, "user": pl.Int64}
VALUE = Json({"n": pl.Int64})


def copied(key_format=None, key=("shop", "user"), written=None, **read) -> Topology:
    topology = Topology("keyed")
    form = key_format or Json(KEY)
    rows = topology.read.kafka("in", format=VALUE, key_format=form, **read)
    rows.write.kafka("out", key=list(key), key_format=written or Json())
    return topology


def sums(**read) -> Topology:
    topology = Topology("sums")
    rows = topology.read.kafka(
        "in", format=VALUE, key_format=Json(KEY), partitioned_by=["shop", "user"], **read
    )
    totals = rows.group_by("shop", "user").agg(n=F.sum("n"))
    totals.write.kafka("out", key=["shop", "user"], key_format=Json(), mode="update")
    return topology


def fed(topology: Topology, *keys: bytes | None, partitions: int = 1) -> TestDriver:
    driver = TestDriver(topology, partitions=partitions)
    for key in keys:
        driver.feed([{"n": 1}], key=key)
    driver.run()
    return driver


def reasons(driver: TestDriver) -> list[str]:
    return [dict(m.headers())["processor.error"].decode() for m in driver.dead_letters()]


def test_the_columns_of_a_key_are_read_like_any_other():
    driver = fed(copied(), b'{"shop":"a","user":7,"more":[1]}')
    assert driver.json("out") == [{"n": 1, "shop": "a", "user": 7}]


@pytest.mark.parametrize(
    ("form", "key", "reason"),
    [
        (Json(KEY), b'{"shop":"a","user":"7"}', "key: column 'user': '7' is no Int64"),
        (Json(KEY), b'{"shop":"a"}', "key: column 'user': missing"),
        (Json(KEY), b'{"shop":', "key: no JSON: "),
        (Json(KEY), b"\xff", "key: no JSON: "),
        (Json(KEY), b"", "key: it is empty"),
        (Json(KEY), None, "key: the record has none"),
        (Json(KEY, optional=frozenset({"shop"})), None, "key: the record has none"),
        (Json(KEY, value_bytes_max=30), b'{"shop":"aaaaaaaaaaaaaaaa","user":1}', "key: it has 36"),
        (Csv(KEY), b"a,b", "key: column 'user': 'b' is no number"),
        (Csv(KEY), None, "key: the record has none"),
    ],
)
def test_a_bad_key_is_a_dead_letter_that_says_so_and_harms_no_neighbour(form, key, reason):
    good = b"a,1" if isinstance(form, Csv) else b'{"shop":"a","user":1}'
    driver = fed(copied(form), good, key, good)
    assert [row["user"] for row in driver.json("out")] == [1, 1]
    (found,) = reasons(driver)
    assert found.startswith(reason)
    assert [letter.key() for letter in driver.dead_letters()] == [key]


def test_a_value_that_is_bad_too_is_told_before_the_key():
    driver = TestDriver(copied())
    driver.feed(["{}"], key="{}")
    driver.run()
    assert reasons(driver) == ["column 'n': missing"]


def test_no_key_is_null_in_all_columns_where_all_of_them_are_optional():
    form = Json(KEY, optional=frozenset(KEY))
    driver = fed(copied(form), None, b'{"user":1}', None)
    assert driver.json("out") == [
        {"n": 1, "shop": None, "user": 1},
        {"n": 1, "shop": None, "user": None},
        {"n": 1, "shop": None, "user": None},
    ]
    # A key that is null in all of its columns is none, as the text of one column is.
    assert [m.key() for m in driver.read("out")] == [b'{"shop":null,"user":1}', None, None]


def test_a_batch_without_a_record_of_it_readable_has_the_columns_still():
    assert len(reasons(fed(copied(), None, None))) == 2


def test_names_that_the_value_has_too_get_a_prefix():
    topology = Topology("keyed")
    rows = topology.read.kafka(
        "in", format=VALUE, key_format=Json({"n": pl.String}), key_prefix="key_"
    )
    rows.write.kafka("out")
    driver = fed(topology, b'{"n":"x"}')
    assert driver.json("out") == [{"n": 1, "key_n": "x"}]


keys = st.lists(
    st.none() | st.tuples(st.text(max_size=4), st.integers(-(2**63), 2**63 - 1)), max_size=6
)


@QUICK
@given(keys)
def test_keys_are_written_as_they_are_written_alone_and_read_back(given_keys):
    form = Json(KEY, optional=frozenset(KEY))
    texts = [key and json.dumps(dict(zip(KEY, key, strict=True))) for key in given_keys]

    def written(size):
        driver = TestDriver(copied(form), batch_records_max=size)
        for text in texts:
            driver.feed([{"n": 1}], key=text)
        driver.run()
        return sorted((m.key() for m in driver.read("out")), key=repr)

    together = written(100)
    assert together == written(1)
    read = form.decode([key for key in together if key is not None]).frame.rows()
    assert sorted(read) == sorted(key for key in given_keys if key is not None)


@pytest.mark.parametrize(
    ("form", "there", "told"),
    [
        (Json(KEY), b'{"user":1}', "key: column 'shop' is null"),
        (Csv(KEY), b'{"user":1}', "key: column 'shop' is null"),
        (Csv(KEY), b'{"shop":"","user":1}', "key: column 'shop' is empty text"),
    ],
)
def test_a_row_whose_key_no_reader_of_its_format_takes_is_set_aside(form, there, told):
    read = Json(KEY, optional=frozenset(KEY))
    driver = fed(copied(read, written=form), b'{"shop":"a","user":1}', there, None)
    assert [m.key() is None for m in driver.read("out")] == [False, True]
    (reason,) = reasons(driver)
    assert told in reason


def test_one_column_has_a_format_too_and_its_bytes_pick_the_partition():
    topology = Topology("one")
    rows = topology.read.kafka("in", format=Json({"user": pl.Int64}))
    rows.write.kafka("out", key="user", key_format=Json())
    driver = TestDriver(topology, partitions=5)
    driver.feed([{"user": user} for user in range(20)])
    driver.run()
    for message in driver.read("out"):
        assert message.key() == message.value()
        assert message.partition() == murmur2(message.key(), 5)


def test_columns_of_the_key_that_the_value_does_not_name_are_left_out_of_it():
    topology = Topology("apart")
    rows = topology.read.kafka("in", format=VALUE, key_format=Json(KEY))
    rows.write.kafka("out", key=["shop", "user"], key_format=Csv(KEY), format=VALUE)
    driver = fed(topology, b'{"shop":"a, b","user":1}')
    assert [(m.key(), m.value()) for m in driver.read("out")] == [(b'"a, b",1', b'{"n":1}')]


def test_groups_are_counted_by_columns_of_the_key():
    one, two = b'{"shop":"a","user":1}', b'{"shop":"a","user":2}'
    driver = fed(sums(), one, two, one, one, partitions=4)
    last = {m.key(): json.loads(m.value())["n"] for m in driver.read("out")}
    assert last == {one: 3, two: 1}
    assert driver.noted == []


def test_keys_that_lie_elsewhere_by_their_bytes_are_told_and_counted():
    driver = TestDriver(sums(), partitions=4)
    for user in range(20):
        key = json.dumps({"shop": "a", "user": user}).encode()
        driver.log.feed("in", [b'{"n":1}'], [key], partition=(murmur2(key, 4) + 1) % 4)
    driver.run()
    assert "by murmur2 of the key's bytes" in driver.noted[0]
    assert sum(report.misplaced for report in driver.reports) == 20


def test_one_key_that_is_written_in_two_ways_is_told_where_it_lies_in_two_partitions():
    one, other = b'{"shop":"a","user":1}', b'{"user":1, "shop":"a"}'
    assert murmur2(one, 7) != murmur2(other, 7)
    driver = fed(sums(), one, other, partitions=7)
    assert "Let all writers write keys alike, to the byte" in driver.noted[0]
    assert sum(report.misplaced for report in driver.reports) == 1


def test_keys_that_are_written_in_two_ways_in_one_partition_are_one_group():
    one, other = b'{"shop":"a","user":1}', b'{"user":1,"shop":"a"}'
    driver = TestDriver(sums(), partitions=1)
    driver.feed([{"n": 1}], key=one)
    driver.feed([{"n": 1}], key=other)
    driver.run()
    assert driver.json("out")[-1]["n"] == 2
    assert driver.noted == []


@pytest.mark.parametrize(
    ("read", "told", "remedy"),
    [
        ({"key_format": Json()}, "has no columns to read", "name them"),
        ({"key_format": Json}, "key_format is the class Json", "make one"),
        ({"key_prefix": "k_"}, "key_prefix='k_' without a key_format", "key_format=Json"),
        ({"key_format": Json({"n": pl.Int64})}, "key_format='n' is a column of the format too",
         'key_prefix="key_"'),
        ({"key_format": Json(KEY), "key": "shop"}, "'shop' stands for two columns", "otherwise"),
        ({"key_format": CloudEvents(VALUE)}, "cloudevents has a part in headers", "use Json"),
        ({"key_format": Json({"at": pl.Datetime}, optional=frozenset({"at"})), "event_time": "k_at",
          "key_prefix": "k_"}, "event_time='k_at' may be missing in a key", "optional columns"),
        ({"key_format": Json(KEY), "partitioned_by": "user"}, "leaves out 'shop'",
         "partitioned_by=['shop', 'user']"),
    ],
)  # fmt: skip
def test_a_source_whose_keys_cannot_be_read_so_is_refused_at_its_line(read, told, remedy):
    topology = Topology("refused")
    with pytest.raises(TopologyError, match=r"test_keyed.py:\d+: ") as refused:
        topology.read.kafka("in", format=VALUE, **read).write.kafka("out")
        topology.plan()
    assert told in refused.value.message
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(
    ("write", "told"),
    [
        ({"key": ["n", "m"]}, "key is ['n', 'm'] (list)"),
        ({"key_format": Json()}, "a key_format without a key"),
        ({"key": ["n", "n"], "key_format": Json()}, "the key names 'n' twice"),
        ({"key": ["x"], "key_format": Json()}, "key='x' is no column"),
        ({"key": ["n"], "key_format": Json({"n": pl.String})}, "key_format: rows cannot be"),
        ({"key": ["n"], "key_format": Json({"m": pl.Int64})}, "the format names 'm'"),
        ({"key": ["n", "m"], "key_format": Text()}, "key_format: "),
        ({"key": ["n"], "key_format": CloudEvents(VALUE)}, "cloudevents has a part in headers"),
    ],
)
def test_a_sink_whose_keys_cannot_be_written_so_is_refused_at_its_line(write, told):
    topology = Topology("refused")
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64, "m": pl.Int64}))
    with pytest.raises(TopologyError, match=r"test_keyed.py:\d+: ") as refused:
        rows.write.kafka("out", **write)
        topology.plan()
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("optional", "refused"),
    [(frozenset(), False), (frozenset({"shop"}), False), (frozenset({"shop", "user"}), True)],
)
def test_a_compacted_topic_is_refused_only_where_all_of_a_key_may_be_null(optional, refused):
    plan = copied(Json(KEY, optional=optional)).plan()
    if refused:
        with pytest.raises(TopologyError, match="'shop', 'user' may be null"):
            compacted.check(plan, {"out"})
    else:
        compacted.check(plan, {"out"})


def test_updates_of_a_group_are_in_order_where_all_of_the_key_is_of_the_group():
    assert "see whether" not in describe(sums().plan())
    other = Topology("other")
    source = other.read.kafka("in", format=VALUE, key_format=Json({"u": pl.Int64}),
                              partitioned_by="u")  # fmt: skip
    totals = source.group_by("u").agg(n=F.sum("n"))
    totals.write.kafka("out", key=["u", "n"], key_format=Json(), mode="update")
    assert "keyed by 'u', 'n' records of one group lie in any" in describe(other.plan())


def test_the_formats_of_keys_are_described_and_another_one_is_another_topology():
    text = describe(copied(key_prefix="k_", key=("k_shop", "k_user")).plan())
    assert "the record's key as json(shop String, user Int64)" in text
    assert "its columns called k_..." in text
    assert "write out keyed by k_shop, k_user as json(), append" in text
    one, other = copied(), copied(Json({"shop": pl.String, "user": pl.Int32}))
    assert identity(one.plan()) != identity(other.plan())
    third = copied(written=Csv(KEY))
    assert identity(one.plan()) != identity(third.plan())


def test_state_of_keys_that_are_read_otherwise_came_by_other_steps():
    steps = [state_of(t.plan()).operators[0].steps for t in (sums(), sums(key="k"))]
    assert steps[0] != steps[1]


def test_an_event_time_may_be_of_the_key():
    topology = Topology("timed")
    key = Json({"at": pl.Datetime("us")})
    rows = topology.read.kafka("in", format=VALUE, key_format=key, event_time="at")
    rows.with_watermark("1 minute").write.kafka("out")
    driver = fed(topology, b'{"at":"2026-05-01T09:10:00"}', None, b'{"at":"2026-05-01T09:00:00"}')
    assert [row["at"] for row in driver.json("out")] == ["2026-05-01T09:10:00"]
    assert driver.reports[0].late == 1


def test_a_file_is_not_fed_where_records_without_a_key_would_all_be_bad(tmp_path):
    path = tmp_path / "lines"
    path.write_text('{"n":1}\n')
    with pytest.raises(SettingsError, match="keys are read as shop, user, and a file has values"):
        feed(MemoryLog(), [copied().plan()], "in", path)
    log = MemoryLog()
    log.create({"in": 1})
    feed(log, [copied(Json(KEY, optional=frozenset(KEY))).plan()], "in", path)
    assert log.describe(["in"])["in"].extents[0].high == 1


def test_a_format_that_keys_cannot_have_is_refused_at_its_line():
    form = Csv({"n": pl.Int64}, header=True)
    reading = Topology("a")
    reading.read.kafka("in", format=Text(), key_format=form).write.kafka("out", format=Text())
    writing = Topology("b")
    rows = writing.read.kafka("in", format=Json({"n": pl.Int64}))
    rows.write.kafka("out", key=["n"], key_format=form)
    for topology in (reading, writing):
        with pytest.raises(TopologyError, match="no key is a header"):
            topology.plan()
