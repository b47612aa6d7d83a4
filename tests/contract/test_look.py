"""What a log promises to who asks how it stands, from beside the worker."""

from __future__ import annotations

from processor.errors import RetriableError
from processor.model.log import Output, TopicPartition
from tests.contract.drive import WAIT_S, Bench, numbered, unique, until


def test_topics_are_told_with_their_partitions_and_those_that_are_not_there(bench: Bench):
    topic, nowhere = bench.topic(partitions=3), unique("nowhere")
    view = bench.log.look([topic, nowhere], [], WAIT_S)
    assert view.partitions == {topic: 3}
    assert view.gone == {nowhere}
    assert not view.leaderless
    assert not view.stable


def test_asking_for_a_topic_does_not_make_it(bench: Bench):
    nowhere = unique("nowhere")
    for _ in range(2):
        asked = [TopicPartition(nowhere, 0)]
        view = bench.log.look([nowhere], asked, WAIT_S)
        assert view.gone == {nowhere}
        assert not view.stable
    assert not bench.log.describe([nowhere])


def test_ends_are_those_of_the_moment_with_and_without_what_is_open(bench: Bench):
    topic = bench.topic(partitions=2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    fed = bench.producer()
    fed.begin()
    fed.produce(Output(topic, numbered(0, 3), partition=0))
    fed.flush(WAIT_S)
    fed.commit(WAIT_S)
    open_ = bench.producer()
    open_.begin()
    open_.produce(Output(topic, numbered(3, 5), partition=0))
    open_.flush(WAIT_S)
    before = bench.log.look([topic], [first, second], WAIT_S)
    held = {p: before.tops[p] - before.stable[p] for p in (first, second)}
    assert held == {first: 2, second: 0}
    open_.commit(WAIT_S)

    def whole() -> bool:
        view = bench.log.look([topic], [first], WAIT_S)
        return view.stable[first] == view.tops[first] == before.tops[first] + 1

    until(whole, "the mark of the transaction")


def test_who_is_in_a_group_holds_its_partitions_and_nobody_those_of_a_group_that_is_not_there(
    bench: Bench,
):
    topic = bench.topic(partitions=2)
    until(lambda: _held(bench) == frozenset(), "an answer")
    reader = bench.reader(topic).own(2)
    assert _held(bench) == reader.owned


def _held(bench: Bench) -> frozenset[TopicPartition] | None:
    try:
        return bench.log.held(bench.group, WAIT_S)
    except RetriableError:  # a new broker's coordinator is not ready at once
        return None
