import contextlib
import struct
from concurrent.futures import Future
from types import SimpleNamespace as Thing

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException

from processor.connectors.kafka import log as module
from processor.connectors.kafka.look import _heard, held, look
from processor.errors import RetriableError
from processor.model.log import TopicPartition

A, B = TopicPartition("in", 0), TopicPartition("in", 1)
GONE = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
SILENT = KafkaException(KafkaError(KafkaError._TIMED_OUT))
REFUSED = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))


def future(answer):
    made = Future()
    if isinstance(answer, Exception):
        made.set_exception(answer)
    elif answer is not None:
        made.set_result(answer)
    return made


class Client:
    """An admin client with an answer for each topic, and for each partition's end."""

    def __init__(self, topics, *, stable=None, tops=None, listed=None):
        self.topics, self.listed = topics, listed
        self.ends = {IsolationLevel.READ_COMMITTED: stable or {}}
        self.ends[IsolationLevel.READ_UNCOMMITTED] = tops or {}

    def describe_topics(self, asked, request_timeout):
        assert request_timeout > 0
        return {name: future(answer) for name, answer in self.topics.items()}

    def list_topics(self, timeout):
        if self.listed is None:
            raise SILENT
        return Thing(topics=self.listed)

    def list_offsets(self, asked, isolation_level, request_timeout):
        ends = self.ends[isolation_level]
        return {p: future(ends.get((p.topic, p.partition))) for p in asked}

    def list_groups(self, group, timeout):
        if isinstance(self.topics, Exception):
            raise self.topics
        return [Thing(id="other", error=None), *self.topics]


def topic(*leaders):
    return Thing(partitions=[Thing(id=i, leader=leader) for i, leader in enumerate(leaders)])


def end(offset):
    return Thing(offset=offset)


def test_a_topic_that_the_broker_does_not_know_is_gone_and_one_it_will_not_tell_of_is_not():
    view = look(Client({"in": topic(1, 1), "out": GONE, "own": REFUSED}), ["in", "out"], [], 1.0)
    assert view.partitions == {"in": 2}
    assert view.gone == {"out"}


def test_a_partition_without_a_leader_is_not_asked_for_its_end():
    client = Client({"in": topic(1, None)}, stable={A: end(5)}, tops={A: end(7)})
    view = look(client, ["in"], [A, B], 1.0)
    assert view.leaderless == {B}
    assert view.stable == {A: 5}
    assert view.tops == {A: 7}


def test_only_partitions_of_topics_that_are_there_are_asked_for_their_ends_for_so_long():
    asked, result = [], Thing(offset=0)

    class Answer:
        def __init__(self, answer):
            self.answer = answer

        def result(self, limit_s):
            asked.append(limit_s)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    def describe(topics, request_timeout):
        asked.append(request_timeout)
        return {"in": Answer(topic(0)), "out": Answer(GONE), "own": Answer(REFUSED)}

    def ends(partitions, isolation_level, request_timeout):
        asked.append((len(partitions), request_timeout))
        return {p: Answer(result) for p in partitions}

    client = Thing(describe_topics=describe, list_offsets=ends)
    gone = TopicPartition("out", 0)
    view = look(client, ["in", "out", "own"], [gone, A], 10.0)
    assert (view.stable, view.tops, view.leaderless) == ({A: 0}, {A: 0}, frozenset())
    assert asked[:4] == [4.0, 4.5, 4.5, 4.5]
    assert [n for n, _ in asked[4:6]] == [1, 1]
    assert all(9.5 < limit_s <= 10.0 for _, limit_s in asked[4:6])
    assert all(10.0 < limit_s <= 10.5 for limit_s in asked[6:])


def test_once_the_time_is_over_only_what_is_there_is_taken():
    limits = []

    def result(limit_s):
        limits.append(limit_s)
        return end(limit_s)

    answers = dict.fromkeys((A, B), Thing(result=result))
    assert _heard(answers, -9.0) == {A: 0.0, B: 0.0}
    assert limits == [0.0, 0.0]


def test_a_list_of_all_topics_is_asked_for_as_long():
    listed = {"in": Thing(partitions={0: Thing(leader=0), 1: Thing(leader=-1)})}
    limits = []

    def list_topics(timeout):
        limits.append(timeout)
        return Thing(topics=listed)

    client = Client({"in": SILENT}, stable={A: end(0)})
    client.list_topics = list_topics
    view = look(client, ["in"], [A, B], 0.5)
    assert (view.leaderless, view.stable, limits) == ({B}, {A: 0}, [0.2])


@pytest.mark.parametrize("answer", [SILENT, end(-1001), None])
def test_an_end_that_does_not_come_is_left_out_and_the_others_are_told(answer):
    client = Client({"in": topic(1, 1)}, stable={A: end(5), B: answer}, tops={A: end(5)})
    assert look(client, ["in"], [A, B], 0.3).stable == {A: 5}
    client = Client({"in": topic(1, 1)}, stable={A: answer, B: end(5)}, tops={A: end(5)})
    assert look(client, ["in"], [A, B], 0.3).stable == {B: 5}


def test_when_the_controller_does_not_answer_any_broker_is_asked_for_all_topics():
    listed = {
        "in": Thing(partitions={0: Thing(leader=1), 1: Thing(leader=-1)}),
        "other": Thing(partitions={0: Thing(leader=-1)}),
    }
    client = Client({"in": SILENT, "out": SILENT}, listed=listed, stable={A: end(5)})
    view = look(client, ["in", "out"], [A, B], 0.3)
    assert view.partitions == {"in": 2}
    assert view.gone == {"out"}
    assert view.leaderless == {B}
    assert view.stable == {A: 5}


def test_a_broker_that_answers_neither_is_away():
    with pytest.raises(RetriableError):
        look(Client({"in": SILENT}), ["in"], [], 0.3)
    with pytest.raises(RetriableError):
        look(Client({"in": None}), ["in"], [], 0.1)


def member(*assigned):
    """A member of a group, with its assignment as the protocol writes it."""
    data = struct.pack(">hi", 1, len(assigned))
    for name, numbers in assigned:
        data += struct.pack(">h", len(name.encode())) + name.encode()
        data += struct.pack(f">i{len(numbers)}i", len(numbers), *numbers)
    return Thing(assignment=data + struct.pack(">i", -1))


def group(*members, state="Stable", error=None):
    return Client([Thing(id="g", state=state, error=error, members=members)])


def test_the_partitions_of_a_group_are_those_of_all_its_members():
    joining, idle = Thing(assignment=b""), member()
    both = group(member(("in", [0])), member(("é", [3, 4]), ("in", [1])), joining, idle)
    assert held(both, "g", 1.0) == {A, B, TopicPartition("é", 3), TopicPartition("é", 4)}


def test_nobody_holds_those_of_a_group_that_is_not_there_and_of_some_nobody_tells():
    assert held(Client([]), "g", 1.0) == frozenset()
    assert held(group(state="Dead"), "g", 1.0) is None


@pytest.mark.parametrize("silent", [SILENT, KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)])
def test_a_group_whose_coordinator_does_not_answer_may_be_asked_for_again(silent):
    client = Client(silent) if isinstance(silent, Exception) else group(error=silent)
    with pytest.raises(RetriableError):
        held(client, "g", 1.0)


def test_a_client_that_hears_nothing_for_long_is_replaced_and_kept_until_its_answers_are_due(
    monkeypatch,
):
    made, now = [], Thing(s=0.0)

    def ask(client, *_):
        if client is not made[-1] or now.s in (0.0, 100.0):
            return "answered"
        raise RetriableError("no connection")

    monkeypatch.setattr(module.time, "monotonic", lambda: now.s)
    monkeypatch.setattr(module, "look", ask)
    monkeypatch.setattr(module.admin, "AdminClient", lambda _: made.append(Thing()) or made[-1])
    log = module.KafkaLog("nowhere:1")
    for now.s in (0.0, 5.0, 10.0):
        try_to(log)
    assert len(made) == 1
    now.s = 10.5
    try_to(log)
    assert log._former is made[0]
    now.s = 11.0
    try_to(log)
    assert len(made) == 2
    assert log._client() is made[1]
    for now.s in (20.0, 20.6, 21.0):
        try_to(log)
    assert len(made) == 3
    now.s = 100.0
    assert log.look([], [], 1.0) == "answered"
    now.s = 105.0
    try_to(log)
    assert log._client() is made[2]
    log.close()
    assert log._former is None


def try_to(log):
    with contextlib.suppress(RetriableError):
        log.look([], [], 1.0)
