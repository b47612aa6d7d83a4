from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import polars as pl
import pytest

from processor import Json, Topology, TopologyError
from processor.errors import SinkError
from processor.model.called import Batch
from processor.plan.nodes import Sink
from processor.sinks.call import call

ROWS = pl.DataFrame({"n": [1, 2, 3]})
BATCH = Batch("app", 5, "in[2]", "save", 7)


def sink(function: Any, method: str = "foreach_batch", **options: Any) -> Sink:
    topology = Topology("app")
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}))
    getattr(rows.write, method)(function, **options)
    return topology._sinks[0]


class Writer:
    def __init__(self, wanted: Any = None, bad: int = 0) -> None:
        self.wanted, self.bad, self.told = wanted, bad, []  # type: ignore[var-annotated]

    def open(self, partition: int, epoch: int) -> Any:
        self.told.append(("open", partition, epoch))
        return self.wanted

    def process(self, row: dict[str, Any]) -> None:
        if row["n"] == self.bad:
            raise ValueError("no room")
        self.told.append(row["n"])

    def close(self, error: Exception | None) -> None:
        self.told.append(("close", error and str(error)))


def test_a_function_is_given_rows_and_epoch_and_where_it_asks_the_batch() -> None:
    told: list[Any] = []
    call(sink(lambda frame, epoch: told.append((frame.rows(), epoch))), ROWS, BATCH, "in[2]", 2)
    call(sink(lambda *all_of: told.append(all_of[1:])), ROWS, BATCH, "in[2]", 2)
    call(sink(lambda frame, epoch, batch: told.append(batch)), ROWS, BATCH, "in[2]", 2)
    call(sink(lambda frame, epoch, table="x": told.append(table)), ROWS, BATCH, "in[2]", 2)
    assert told == [([(1,), (2,), (3,)], 7), (7,), BATCH, "x"]
    assert BATCH.key == ("app", 5, "in[2]", "save", 7)


def test_what_a_function_raises_is_told_with_its_line_the_offsets_and_a_way() -> None:
    def wrong(frame: pl.DataFrame, epoch: int) -> None:
        raise KeyError("user")

    with pytest.raises(SinkError) as caught:
        call(sink(wrong), ROWS, BATCH, "in[2] offsets 5 to 9", 2)
    assert "in[2] offsets 5 to 9: step app/foreach_batch at " in caught.value.message
    assert "wrong raised KeyError in epoch 7, with 3 rows: 'user'" in caught.value.message
    assert "the same rows and the same epoch" in caught.value.remedy
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_object_is_opened_given_rows_and_closed() -> None:
    writer, unwilling, broken = Writer(), Writer(wanted=False), Writer(bad=2)
    for each in (writer, unwilling):
        call(sink(each, "foreach"), ROWS, BATCH, "in[2]", 2)
    assert writer.told == [("open", 2, 7), 1, 2, 3, ("close", None)]
    assert unwilling.told == [("open", 2, 7), ("close", None)]
    with pytest.raises(SinkError, match=r"foreach at .* ValueError .*no room"):
        call(sink(broken, "foreach"), ROWS, BATCH, "in[2]", 2)
    assert broken.told == [("open", 2, 7), 1, ("close", "no room")]


def test_what_close_raises_does_not_hide_what_process_raised() -> None:
    class Both:
        def process(self, row: dict[str, Any]) -> None:
            raise ValueError("first")

        def close(self, error: Exception | None) -> None:
            raise RuntimeError("second")

    with pytest.raises(SinkError) as caught:
        call(sink(Both(), "foreach"), ROWS, BATCH, "in[2]", 2)
    assert "raised ValueError" in caught.value.message
    assert "first; close raised RuntimeError too: second" in caught.value.message


def test_an_error_that_has_no_text_is_told_by_its_name() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    def wrong(frame: pl.DataFrame, epoch: int) -> None:
        raise MuteError

    with pytest.raises(SinkError, match=r"raised MuteError .* cannot be told: ValueError"):
        call(sink(wrong), ROWS, BATCH, "in[2]", 2)


async def later(frame: pl.DataFrame, epoch: int) -> None: ...


def yields(frame: pl.DataFrame, epoch: int) -> Iterator[int]:
    yield epoch


async def yields_later(frame: pl.DataFrame, epoch: int) -> AsyncIterator[int]:
    yield epoch


class Yields:
    def process(self, row: dict[str, Any]) -> Iterator[Any]:
        yield row


class YieldsAtClose:
    def process(self, row: dict[str, Any]) -> None: ...

    def close(self, error: Exception | None) -> Iterator[Any]:
        yield error


class YieldsWhenCalled:
    def __call__(self, frame: pl.DataFrame, epoch: int) -> Iterator[Any]:
        yield frame


@pytest.mark.parametrize(
    ("function", "method", "options", "message"),
    [
        ("save", "foreach_batch", {}, "foreach_batch"),
        (Writer, "foreach_batch", {}, "the class Writer"),
        (lambda frame: None, "foreach_batch", {}, r"\(frame\) cannot be called with a frame"),
        (lambda a, b, c, d: None, "foreach_batch", {}, r"\(a, b, c, d\) cannot be called"),
        (later, "foreach_batch", {}, "is async"),
        (yields, "foreach_batch", {}, "yields is a generator"),
        (partial(yields, epoch=1), "foreach", {}, "yields is a generator"),
        (yields_later, "foreach_batch", {}, "is async"),
        (yields_later, "foreach", {}, "is async"),
        (Yields(), "foreach", {}, "process is a generator"),
        (Yields().process, "foreach", {}, "process is a generator"),
        (YieldsAtClose(), "foreach", {}, "close is a generator"),
        (YieldsWhenCalled(), "foreach_batch", {}, "__call__ is a generator"),
        (print, "foreach_batch", {"per": "partition"}, "per='partition'"),
        (print, "foreach_batch", {"name": "a b"}, "name='a b'"),
        (print, "foreach_batch", {"format": Json()}, "format"),
        (lambda: None, "foreach", {}, r"\(\) cannot be called with a row"),
        (Writer, "foreach", {}, "the class Writer"),
        (7, "foreach", {}, "foreach"),
    ],
)
def test_what_cannot_be_called_is_refused_at_its_line(
    function: Any, method: str, options: Any, message: str
) -> None:
    with pytest.raises(TopologyError, match=rf"test_call\.py:\d+: .*{message}") as caught:
        sink(function, method, **options)
    assert caught.value.remedy


def test_functions_of_one_name_are_told_apart() -> None:
    topology = Topology("app")
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}))
    for _ in range(3):
        rows.write.foreach_batch(lambda frame, epoch: None, per="task")
    rows.write.foreach(print, name="shown")
    names = [s.topic for s in topology.plan().sinks]
    assert names == ["call:function", "call:function-2", "call:function-3", "call:shown"]
