from __future__ import annotations

import polars as pl
import pytest

from processor import Bytes, Text, Topology, TopologyError
from processor.formats.base import WriteError
from processor.testing import TestDriver


def test_an_empty_batch_has_the_column_and_no_rows() -> None:
    decoded = Bytes("b").decode([])
    assert decoded.frame.schema == {"b": pl.Binary}
    assert (decoded.frame.height, decoded.bad) == (0, {})
    assert Bytes("b").encode(decoded.frame) == []


@pytest.mark.parametrize(
    "value", [b"\0", b"\xff\xfe", b"a\nb", "\ufeff".encode(), b"x" * 1_000_000]
)
def test_any_bytes_are_taken_as_they_are(value: bytes) -> None:
    decoded = Bytes().decode([b"a", value])
    assert decoded.bad == {}
    assert decoded.frame["value"].to_list() == [b"a", value]
    assert Bytes().encode(decoded.frame) == [b"a", value]


def test_a_bad_record_is_named_and_its_neighbours_stay_in_place() -> None:
    decoded = Bytes(value_bytes_max=3).decode([b"a", None, b"abcd", b"", b"b"])
    assert decoded.bad == {
        1: "the record has no value",
        2: "the record has 4 bytes, more than 3",
        3: "the record is empty",
    }
    assert decoded.frame["value"].to_list()[::4] == [b"a", b"b"]


def test_a_name_that_cannot_be_is_refused_at_the_line() -> None:
    for wrong in ("", 5):
        with pytest.raises(TopologyError, match=rf"{__file__}:\d+: Bytes: .* cannot name a column"):
            Bytes(wrong)  # type: ignore[arg-type]
    with pytest.raises(TopologyError, match="value_bytes_max is 0"):
        Bytes(value_bytes_max=0)


def test_rows_of_another_column_are_not_written() -> None:
    with pytest.raises(ValueError, match="the columns are a, not value"):
        Bytes().encode(pl.DataFrame({"a": [b"x"]}))
    with pytest.raises(WriteError, match="column 'value' is null"):
        Bytes().encode(pl.DataFrame({"value": [b"x", None]}))


@pytest.mark.parametrize("form", [Bytes(tombstones=True), Text(tombstones=True)])
def test_a_tombstone_is_passed_on_with_its_key(form: Bytes | Text) -> None:
    topology = Topology("copy")
    topology.read.kafka("in", format=form, key="k").write.kafka("out", format=form, key="k")
    driver = TestDriver(topology)
    driver.feed([b"a"], key="1")
    driver.feed([None], key="1")
    driver.run()
    found = [(message.key(), message.value()) for message in driver.read("out")]
    assert found == [(b"1", b"a"), (b"1", None)]
    assert driver.dead_letters() == []


@pytest.mark.parametrize("form", [Bytes(), Text(), Bytes(tombstones=True), Text(tombstones=True)])
def test_an_empty_record_is_a_dead_letter_and_a_null_without_tombstones_too(
    form: Bytes | Text,
) -> None:
    topology = Topology("copy")
    topology.read.kafka("in", format=form).write.kafka("out", format=form)
    driver = TestDriver(topology)
    driver.feed([b"", None, b"a"])
    driver.run()
    kept = [None, b"a"] if form.tombstones else [b"a"]
    assert driver.values("out") == kept
    assert len(driver.dead_letters()) == 3 - len(kept)


def test_a_row_that_the_format_cannot_write_is_set_aside_alone() -> None:
    topology = Topology("copy")
    rows = topology.read.kafka("in", format=Bytes(empty=True, tombstones=True))
    rows.write.kafka("out", format=Bytes())
    driver = TestDriver(topology)
    driver.feed([b"a", b"", None, b"b"])
    driver.run()
    assert driver.values("out") == [b"a", b"b"]
    told = [dict(letter.headers())["processor.error"] for letter in driver.dead_letters()]
    assert [b"is empty" in told[0], b"is null" in told[1]] == [True, True]


def test_keys_and_headers_of_bytes_are_written_as_they_are() -> None:
    topology = Topology("keyed")
    rows = topology.read.kafka("in", format=Bytes())
    rows.write.kafka("out", format=Bytes(), key="value", headers={"h": "value"})
    driver = TestDriver(topology)
    driver.feed([b"\xff\0"])
    driver.run()
    (message,) = driver.read("out")
    assert (message.key(), message.value()) == (b"\xff\0", b"\xff\0")
    assert message.headers() == [("h", b"\xff\0")]


def test_a_sink_of_another_column_or_type_is_refused_at_its_line() -> None:
    for columns in ({"a": pl.col("value")}, {"value": pl.col("value").bin.encode("hex")}):
        topology = Topology("app")
        topology.read.kafka("in", format=Bytes()).select(**columns).write.kafka(
            "out", format=Bytes()
        )
        with pytest.raises(TopologyError, match=rf"^{__file__}:\d+: rows cannot be written"):
            topology.plan()


def test_a_text_column_that_may_be_a_tombstone_is_no_key_of_a_compacted_topic() -> None:
    from processor.plan import compacted

    topology = Topology("app")
    rows = topology.read.kafka("in", format=Text(tombstones=True))
    rows.write.kafka("out", key="value", format=Text(tombstones=True))
    with pytest.raises(TopologyError, match="its key 'value' may be null"):
        compacted.check(topology.plan(), {"out"})
