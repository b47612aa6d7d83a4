from __future__ import annotations

import polars as pl

from processor import Json, Text
from processor.model.batch import Result
from processor.operators.base import TASK, Context
from processor.operators.emit import Emit


def emit(step: Emit, frame: pl.DataFrame) -> Result:
    context = Context([], [], Result())
    assert step.process(frame, context).height == 0
    return context.result


def test_no_rows_are_no_output() -> None:
    assert emit(Emit("out", Json(), "k"), pl.DataFrame(schema={"k": pl.Int64})).outputs == []


def test_the_key_is_the_text_of_its_column_and_null_is_no_key() -> None:
    (output,) = emit(Emit("out", Json(), "k"), pl.DataFrame({"k": [6, None]})).outputs
    assert (output.topic, output.keys) == ("out", [b"6", None])
    assert output.values == [b'{"k":6}', b'{"k":null}']


def test_without_a_key_column_no_record_has_a_key() -> None:
    (output,) = emit(Emit("out", Text(), None), pl.DataFrame({"v": ["a"]})).outputs
    assert (output.keys, output.values, len(output)) == (None, [b"a"], 1)


def test_the_mark_of_the_task_is_not_written() -> None:
    (output,) = emit(Emit("out", Json(), None), pl.DataFrame({TASK: [0], "v": [1]})).outputs
    assert output.values == [b'{"v":1}']
