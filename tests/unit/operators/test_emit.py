from __future__ import annotations

import polars as pl

from processor import Json, Text
from processor.model.batch import Result
from processor.model.log import NULL_KEYS
from processor.operators.base import TASK, Context
from processor.operators.emit import Emit


def emit(step: Emit, frame: pl.DataFrame) -> Result:
    context = Context([], [], Result())
    assert step.process(frame, context).height == 0
    return context.result


def test_no_rows_are_no_output() -> None:
    assert emit(Emit("out", Json(), "k"), pl.DataFrame(schema={"k": pl.Int64})).outputs == []


def test_the_key_is_the_text_of_its_column() -> None:
    (output,) = emit(Emit("out", Json(), "k"), pl.DataFrame({"k": [6, 7]})).outputs
    assert (output.topic, output.keys, output.partition) == ("out", [b"6", b"7"], None)
    assert output.values == [b'{"k":6}', b'{"k":7}']


def test_rows_whose_key_is_null_have_none_and_go_to_one_partition_in_order() -> None:
    frame = pl.DataFrame({"k": [6, None, 7, None], "n": [1, 2, 3, 4]})
    keyed, keyless = emit(Emit("out", Json(), "k"), frame).outputs
    assert (keyed.keys, keyed.partition) == ([b"6", b"7"], None)
    assert (keyless.keys, keyless.partition) == (None, NULL_KEYS)
    assert keyed.values == [b'{"k":6,"n":1}', b'{"k":7,"n":3}']
    assert keyless.values == [b'{"k":null,"n":2}', b'{"k":null,"n":4}']


def test_null_keys_alone_are_one_output() -> None:
    frame = pl.DataFrame({"k": [None, None]}, schema={"k": pl.String})
    (output,) = emit(Emit("out", Json(), "k"), frame).outputs
    assert (output.keys, output.partition, len(output)) == (None, NULL_KEYS, 2)


def test_without_a_key_column_no_record_has_a_key() -> None:
    (output,) = emit(Emit("out", Text(), None), pl.DataFrame({"v": ["a"]})).outputs
    assert (output.keys, output.values, len(output)) == (None, [b"a"], 1)


def test_the_mark_of_the_task_is_not_written() -> None:
    (output,) = emit(Emit("out", Json(), None), pl.DataFrame({TASK: [0], "v": [1]})).outputs
    assert output.values == [b'{"v":1}']
