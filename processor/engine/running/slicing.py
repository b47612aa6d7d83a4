"""What a batch has of a task: the records that follow what is committed, and none else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from processor.engine.commit.task import Task
from processor.engine.running.batcher import ContinuityError, Share
from processor.model.batch import Slice
from processor.model.log import TopicPartition


def slice_of(
    task: Task,
    share: Share,
    raised: Mapping[TopicPartition, int | None] | None,
    stamp: Callable[[int | None], int | None],
) -> Slice:
    """The share as the operators take it; of an idle partition, with its ``raised`` watermark.

    ``stamp`` gives rows their time, where that is the clock's.

    Raises `ContinuityError` for what does not follow, or is not what was promised.
    """
    share.check(task.partition, task.base.offset)
    end, intent = share.end(), task.intent()
    if intent is not None and intent.end != end:
        raise ContinuityError(
            f"{task.partition}: a batch up to {end}, and one up to {intent.end} was promised",
            remedy="this is a fault of the processor: report it with the log; nothing of the "
            "batch was committed",
        )
    largest = task.event_time_max if raised is None else raised[task.partition]
    # A batch without records, of whatever need, leaves an idle partition idle.
    idle = not share.messages and (raised is not None or task.idle())
    return Slice(
        task.partition, share.messages, share.values, task.base.offset, end,
        largest, task.log_time, idle=idle, now=stamp(largest),
    )  # fmt: skip
