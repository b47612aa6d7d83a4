"""What a row costs on its way from stage to stage: dealt out, written as blocks, read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl

from processor.formats import placing
from processor.formats.blocks import Blocks
from processor.model.batch import Result
from processor.operators.base import Context
from processor.operators.shuffle import Shuffle

Step = Callable[[int], object]
TARGETS: Final = (1, 4, 40)


def hop_steps(frames: Sequence[pl.DataFrame]) -> Mapping[str, Step]:
    """The steps for these rows, by user, to so many partitions."""
    form = Blocks(dict(frames[0].schema))
    steps: dict[str, Step] = {
        "hop: the partition of each row": lambda i: placing.partitions(
            frames[i % len(frames)].select("user"), TARGETS[-1]
        )
    }
    for count in TARGETS:
        steps |= _of(count, form, frames)
    return steps


def _of(count: int, form: Blocks, frames: Sequence[pl.DataFrame]) -> dict[str, Step]:
    shuffle = Shuffle("app", "to", form, ("user",), None, lambda _: count)
    blocks = _dealt(shuffle, frames[0])
    return {
        f"hop: dealt out and written, {count} targets": lambda i: _dealt(
            shuffle, frames[i % len(frames)]
        ),
        f"hop: read, of {count} targets": lambda _: form.decode(blocks),
    }


def _dealt(shuffle: Shuffle, frame: pl.DataFrame) -> list[bytes | None]:
    context = Context([], [], Result())
    shuffle.process(frame, context)
    return [value for output in context.result.outputs for value in output.values]
