from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal

import polars as pl
import pytest

from processor import Arrow, Json, Topology
from processor import functions as F
from processor.cli.verify import verified
from processor.connectors.partitioner import partition as murmur2
from processor.engine.running.keys import CLOSELY, ONE_IN, PARTITIONERS, SAMPLE_MAX, Keys
from processor.model.batch import Sample
from processor.testing import TestDriver
from tests.unit.messages import Fake

if TYPE_CHECKING:
    from collections.abc import Callable

CRC32, FNV1A, MURMUR2 = PARTITIONERS.values()
FORM = Json({"user": pl.String, "n": pl.Int64}, optional=frozenset({"user"}))


def sums(by: str | list[str] = "user") -> Topology:
    topology = Topology("app")
    rows = topology.read.kafka("rides", format=FORM, partitioned_by=by, on_error="skip")
    keys = [by] if isinstance(by, str) else by
    rows.group_by(*keys).agg(s=F.sum("n")).write.kafka("out", key=keys[0], mode="update")
    return topology


def fed(
    place: Callable[[bytes, int], int],
    *,
    key: Callable[[str], bytes | None] = str.encode,
    partitions: int = 4,
    users: int = 20,
    topology: Topology | None = None,
    size: int = 20_000,
) -> TestDriver:
    """Users' records, each in the partition that its key's bytes have by ``place``."""
    driver = TestDriver(topology or sums(), partitions=partitions, batch_records_max=size)
    for number in range(users * 3):
        user = f"user-{number % users}"
        name = key(user)
        home = place(name if name is not None else user.encode(), partitions)
        driver.log.feed("rides", [json.dumps({"user": user, "n": number}).encode()],
                        keys=None if name is None else [name], partition=home)  # fmt: skip
    driver.run()
    return driver


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (CRC32, "crc32 (librdkafka's own choice) puts the keys"),
        (FNV1A, "fnv1a (Sarama's own choice)"),
        (lambda key, _: murmur2(key, 3), "if the topic has 3 partitions"),
        (lambda key, _: len(key) * 3 % 4, "murmur2 of that text"),
    ],
)
@pytest.mark.parametrize("size", [20, 20_000])
def test_keys_that_another_partitioner_has_placed_are_told_once_and_counted(
    place: Callable[[bytes, int], int], named: str, size: int
) -> None:
    driver = fed(place, size=size)
    told = driver.noted[0]
    assert told.startswith("rides[")
    assert "offset 0: a record with user='user-" in told
    assert "of 4 by murmur2" in told
    assert named in driver.noted[-1]
    assert len(driver.noted) == 1
    wrong = sum(
        place(f"user-{n % 20}".encode(), 4) != murmur2(f"user-{n % 20}".encode(), 4)
        for n in range(60)
    )
    assert sum(report.misplaced for report in driver.reports) == wrong > 0
    assert "misplaced" in driver.reports[0].log_fields()


def test_the_partitioner_is_told_as_soon_as_it_is_known() -> None:
    driver = fed(CRC32, size=1)
    first, then = driver.noted
    assert "offset 0: a record with user=" in first
    assert "crc32" not in first
    assert re.fullmatch(r"rides: All \d+ looked at lie where crc32 .*murmur2_random .*", then)


def test_the_record_and_both_partitions_are_named() -> None:
    driver = TestDriver(sums(), partitions=2)
    users = [u for u in map(str, range(50)) if murmur2(u.encode(), 2) == 0]
    driver.feed([json.dumps({"user": u, "n": 1}) for u in users[:3]], partition=0)
    driver.feed([json.dumps({"user": users[3], "n": 1})], partition=1)
    driver.run()
    (told,) = driver.noted
    assert f"rides[1] offset 0: a record with user={users[3]!r} belongs to partition 0 of 2" in told
    assert "lies in 1" in told


@pytest.mark.parametrize(
    "key",
    [
        str.encode,
        lambda user: json.dumps({"user": user}).encode(),
        lambda user: b"\0\0\0\0\1" + user.encode(),
    ],
)
def test_keys_that_lie_where_they_belong_are_not_told(key: Callable[[str], bytes]) -> None:
    driver = fed(murmur2, key=key)
    assert driver.noted == []
    assert sum(report.misplaced for report in driver.reports) == 0


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("order", ["big", "little"])
def test_keys_that_are_numbers_in_bytes_lie_where_these_belong(
    width: int, order: Literal["big", "little"]
) -> None:
    driver = TestDriver(sums("n"), partitions=4)
    for number in range(-20, 20):
        key = number.to_bytes(width, order, signed=True)
        driver.log.feed("rides", [b'{"user":"u","n":%d}' % number], keys=[key],
                        partition=murmur2(key, 4))  # fmt: skip
    driver.run()
    assert driver.noted == []


def test_a_record_of_many_rows_is_to_have_rows_of_its_key() -> None:
    form = Arrow({"user": pl.String, "n": pl.Int64})
    topology = Topology("sums")
    rows = topology.read.kafka("rides", format=form, partitioned_by="user")
    rows.group_by("user").agg(n=F.sum("n")).write.kafka("out", key="user", mode="update")
    driver = TestDriver(topology, partitions=4)
    ((_, value),) = form.pack(pl.DataFrame({"user": [f"u{n}" for n in range(9)], "n": [1] * 9}))
    driver.log.feed("rides", [value], keys=[b"batch"], partition=murmur2(b"batch", 4))
    driver.run()
    (told,) = driver.noted
    assert "the topic is not keyed by 'user'" in told
    assert told.endswith("the rows of one record are all to be of its key: a record for each key")


@pytest.mark.parametrize("size", [1, 20, 20_000])
@pytest.mark.parametrize("place", [murmur2, CRC32, lambda key, _: len(key) * 3 % 4])
def test_a_topic_that_is_keyed_by_something_else_is_told_so_once(place, size: int) -> None:
    number = iter(range(1000))
    driver = fed(place, key=lambda _: f"order-{next(number)}".encode(), size=size)
    (told,) = driver.noted
    assert "the topic is not keyed by 'user': the record's key is 'order-" in told
    assert "where the column is 'user-" in told
    assert "partitioned_by=" in told
    assert "murmur2" not in told


def test_some_records_with_another_key_do_not_make_the_topic_keyed_otherwise() -> None:
    number = iter(range(1000))
    driver = fed(murmur2, key=lambda user: b"x" if next(number) >= 50 else user.encode(), size=1)
    assert "of 4 by murmur2" in driver.noted[0]


def test_a_long_key_of_any_bytes_is_told_in_a_few() -> None:
    number = iter(range(1000))
    driver = fed(CRC32, key=lambda _: b"\xff" * 500 + b"%d" % next(number))
    assert len(driver.noted[0]) < 700


@pytest.mark.parametrize("length", [60, 61])
def test_of_a_key_that_is_another_text_sixty_characters_are_shown(length: int) -> None:
    told: list[str] = []
    key = b"x" * length
    sample = Sample(Fake(b"", 0, (murmur2(b"ann", 4) + 1) % 4, key), "ann")
    Keys(sums().plan(), 4, told.append).look([sample])
    (one,) = told
    shown = "x" * 60 + "…" * (length > 60)
    assert f"the record's key is {shown!r} where the column is 'ann'" in one


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (lambda user: json.dumps({"user": user}).encode(), "their record keys, which are another"),
        (lambda _: None, "the keys. Let all writers"),
    ],
)
def test_a_partitioner_is_known_by_the_records_keys_and_by_the_text_where_they_have_none(
    key: Callable[[str], bytes | None], said: str
) -> None:
    (told,) = fed(CRC32, key=key).noted
    assert f"crc32 (librdkafka's own choice) puts {said}" in told


def test_a_topic_without_keys_is_told_where_its_groups_are_split() -> None:
    turn = iter(range(1000))
    driver = fed(lambda *_: next(turn) % 4, key=lambda _: None)
    assert len(driver.noted) == 1


@pytest.mark.parametrize(
    ("topology", "partitions", "value"),
    [
        (sums(), 1, {"user": "ann", "n": 1}),
        (sums(), 4, {"n": 1}),
        (sums(), 4, {"user": None, "n": 1}),
        (sums(["user", "n"]), 4, {"user": "ann", "n": 1}),
    ],
)
def test_one_partition_null_keys_and_keys_of_several_columns_are_silent(
    topology: Topology, partitions: int, value: dict
) -> None:
    driver = TestDriver(topology, partitions=partitions)
    for number in range(partitions):
        driver.feed([value], partition=number)
    driver.run()
    assert driver.noted == []


def test_what_cannot_be_read_and_what_needs_no_place_is_not_looked_at() -> None:
    driver = TestDriver(sums(), partitions=4)
    driver.feed(["{", "no"], partition=3)
    driver.run()
    stateless = Topology("copy")
    rows = stateless.read.kafka("rides", format=FORM, partitioned_by="user")
    rows.write.kafka("out")
    assert driver.noted == fed(CRC32, topology=stateless).noted == []


def test_batches_are_looked_at_closely_at_first_and_then_here_and_there() -> None:
    keys = Keys(sums().plan(), 4, lambda _: None)
    assert [keys.wanted(rows) for rows in (1, 40, 60_000)] == [1, 40, SAMPLE_MAX]
    home = murmur2(b"ann", 4)
    keys.look([Sample(Fake(b"", 0, home, b"ann"), "ann")] * CLOSELY)
    assert [keys.wanted(rows) for rows in (10 * ONE_IN, 200_000)] == [10, SAMPLE_MAX]
    assert sum(keys.wanted(32) for _ in range(10 * ONE_IN // 32)) == 10


def test_one_record_of_so_many_is_looked_at_to_the_record() -> None:
    keys = Keys(sums().plan(), 4, lambda _: None)
    keys.look([Sample(Fake(b"", 0, murmur2(b"ann", 4), b"ann"), "ann")] * CLOSELY)
    assert [keys.wanted(rows) for rows in (ONE_IN - 1, 1, ONE_IN - 1, 1)] == [0, 1, 0, 1]
    assert Keys(sums().plan(), 1, lambda _: None).wanted(20_000) == 0
    assert Keys(sums(["user", "n"]).plan(), 4, lambda _: None).wanted(20_000) == 0


def samples(users: list[str], place: Callable[[bytes, int], int]) -> list[Sample]:
    return [Sample(Fake(b"", 0, place(u.encode(), 4), u.encode()), u) for u in users]


def misplaced(place: Callable[[bytes, int], int], count: int) -> list[str]:
    """Users all of whom lie elsewhere by it."""
    users = (f"user-{number}" for number in range(10_000))
    found = [u for u in users if place(u.encode(), 4) != murmur2(u.encode(), 4)]
    return found[:count]


def test_four_keys_are_enough_to_know_a_partitioner_by_and_three_are_not() -> None:
    for count in (3, 4):
        told: list[str] = []
        Keys(sums().plan(), 4, told.append).look(samples(misplaced(CRC32, count), CRC32))
        assert [("crc32" in one) for one in told] == [count == 4]


def test_after_so_many_records_without_a_partitioner_it_is_not_looked_for_any_more() -> None:
    users = misplaced(CRC32, 4)
    for more, known in ((SAMPLE_MAX - 3, True), (SAMPLE_MAX - 2, False)):
        told: list[str] = []
        keys = Keys(sums().plan(), 4, told.append)
        for user in [users[0], *users[1:2] * more, *users[2:]]:
            keys.look(samples([user], CRC32))
        assert any("crc32" in one for one in told) is known


def test_a_topic_is_said_to_have_had_fewer_partitions_never_more_nor_one() -> None:
    more = [u for u in misplaced(lambda key, _: murmur2(key, 5), 400) if murmur2(u.encode(), 5) < 4]
    for place, users in (
        (lambda key, _: murmur2(key, 5), more[:4]),
        (lambda _, __: 0, misplaced(lambda _, __: 0, 30)),
    ):
        told: list[str] = []
        Keys(sums().plan(), 4, told.append).look(samples(users, place))
        assert "if the topic has" not in told[0]
    told = []
    two = misplaced(lambda key, _: murmur2(key, 2), 30)
    look = Keys(sums().plan(), 4, told.append).look
    look(samples(two, lambda key, _: murmur2(key, 2)))
    assert "if the topic has 2 partitions" in told[0]


def test_fnv1a_is_as_published_and_its_partition_as_sarama_picks_it() -> None:
    """Of the hash as a signed number of 32 bits the remainder's amount."""
    published = {b"": 0x811C9DC5, b"a": 0xE40C292C, b"foobar": 0xBF9CF968, b"abc": 0x1A47E90B,
                 b"foo": 0xA9F37ED7, b"chongo was here!": 0x448524FD}  # fmt: skip
    for key, number in published.items():
        signed = number - 2**32 * (number >= 2**31)
        for count in (3, 2**20, 2**40):
            assert FNV1A(key, count) == abs(signed) % count


def test_verify_says_the_same() -> None:
    driver = fed(CRC32)
    report = verified(driver.plan, driver.log)
    assert report.findings == []
    (note,) = report.notes
    assert "of 60 records looked at: rides[" in note
    assert "crc32" in note
    assert verified(fed(murmur2).plan, fed(murmur2).log).notes == []
