"""A topic that was made anew is another log, whatever its offsets are."""

from __future__ import annotations

import json

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.engine.restore.lineage import Lineage
from processor.errors import InputReplacedError, LogError, RetriableError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.testing import TestDriver


def counting() -> Topology:
    topology = Topology("a")
    form = Json({"k": pl.String})
    rows = topology.read.kafka("in", format=form, partitioned_by="k")
    rows.group_by("k").agg(n=F.count()).write.kafka("out", mode="update")
    return topology


def copying() -> Topology:
    topology = Topology("a")
    topology.read.kafka("in", format=Json({"k": pl.String})).write.kafka("out")
    return topology


def rows(count: int) -> list[bytes]:
    return [json.dumps({"k": f"k{i}"}).encode() for i in range(count)]


@pytest.mark.parametrize("build", [counting, copying])
def test_a_topic_made_anew_under_a_running_worker_ends_it_before_it_publishes_of_it(build):
    driver = TestDriver(build())
    driver.feed(rows(1))
    driver.run()
    published = driver.values("out")
    driver.log.make_anew("in")
    driver.feed(rows(4))
    with pytest.raises(InputReplacedError, match="made anew") as error:
        driver.run()
    assert "processor reset" in error.value.remedy
    assert driver.values("out") == published


@pytest.mark.parametrize("build", [counting, copying])
def test_a_topic_made_anew_while_nobody_was_there_ends_the_next_start(build):
    driver = TestDriver(build())
    driver.feed(rows(1))
    driver.run()
    driver.stop()
    driver.log.make_anew("in")
    driver.feed(rows(4))
    driver.restart()
    with pytest.raises(InputReplacedError, match=r"in\[0\]"):
        driver.run()


def test_manifests_tell_what_the_log_calls_itself_and_those_of_before_tell_nothing():
    driver = TestDriver(counting())
    driver.feed(rows(1))
    driver.run()
    head = driver.log.committed("a", "in")[TopicPartition("in", 0)]
    manifest = Manifest.parse(head.metadata)
    assert manifest.log == driver.log.identity("in")()
    before = ";".join(head.metadata.split(";")[:11])
    assert Manifest.parse(before).log == ""


class Answers:
    """A log that answers with what it is given, in turn."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    def identity(self, topic: str):
        del topic

        def answer() -> str:
            found = self.answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        return answer


@pytest.mark.parametrize(("first", "second"), [("", "x"), ("x", ""), ("", ""), ("x", "x")])
def test_a_log_without_a_name_for_itself_is_taken_for_the_same(first, second):
    lineage = Lineage(Answers(first, second), "in")  # type: ignore[arg-type]
    for _ in range(2):
        lineage.ask()
        lineage.check()
    assert lineage.identity == first or second


def test_a_log_that_does_not_answer_is_asked_again():
    lineage = Lineage(Answers("x", RetriableError("away"), "y"), "in")  # type: ignore[arg-type]
    lineage.ask()
    lineage.check()
    lineage.ask()
    with pytest.raises(RetriableError):
        lineage.check()
    lineage.ask()
    with pytest.raises(InputReplacedError, match="y, and was x"):
        lineage.check()


def test_who_has_not_asked_waits_for_nothing():
    lineage = Lineage(Answers(), "in")  # type: ignore[arg-type]
    lineage.check()
    assert lineage.identity == ""


def seen(before, after, error):
    """What comes of a log's refusal when it called itself ``before`` and does ``after`` now."""

    class Log:
        def identity(self, topic):
            def answer():
                if isinstance(after, Exception):
                    raise after
                return after

            return answer

    lineage = Lineage(Log(), "in")
    lineage.identity = before
    with pytest.raises(type(error) if before == after else Exception) as caught, lineage.asked():
        raise error
    return caught.value


def test_a_refusal_of_a_log_that_was_made_anew_is_told_as_that():
    refusal = LogError("in[0]: Offset out of range")
    assert isinstance(seen("a", "b", refusal), InputReplacedError)
    assert seen("a", "a", refusal) is refusal
    assert seen("a", RetriableError("no answer"), refusal) is refusal
    away = RetriableError("no broker")
    assert seen("a", "b", away) is away
