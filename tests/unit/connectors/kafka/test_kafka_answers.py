"""What the log asks of its clients, and what it makes of each answer, without a broker."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace as Thing
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, IsolationLevel, KafkaError, KafkaException

from processor.connectors.kafka import asking
from processor.connectors.kafka import log as module
from processor.connectors.kafka.consumer import positions_of
from processor.connectors.kafka.log import KafkaLog
from processor.connectors.kafka.making import made
from processor.errors import FencedError, LogError, RetriableError
from processor.model.log import Committed, Extent, TopicDescription, TopicPartition


def wrong(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


SILENT = wrong(KafkaError._TIMED_OUT)


def silent() -> None:
    raise SILENT


REFUSED = wrong(KafkaError.TOPIC_AUTHORIZATION_FAILED)


def future(answer: Any) -> Future:
    done: Future = Future()
    if isinstance(answer, Exception):
        done.set_exception(answer)
    else:
        done.set_result(answer)
    return done


def topics(**leaders: list[int]) -> Thing:
    parts = {
        name: Thing(partitions={i: Thing(leader=leader) for i, leader in enumerate(found)})
        for name, found in leaders.items()
    }
    return Thing(topics=parts, cluster_id="one")


class Admin:
    """Answers each call with the next of its list, the last again and again; keeps the asking."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {k: v if isinstance(v, list) else [v] for k, v in answers.items()}
        self.asked: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            self.asked.append((name, args, named))
            if name == "poll":
                return 0
            left = self.answers[name]
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, Exception):
                raise answer
            return answer(*args, **named) if callable(answer) else answer

        return call

    def of(self, name: str) -> list[Any]:
        return [asked[1:] for asked in self.asked if asked[0] == name]


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    made = KafkaLog("nowhere:1")
    yield made
    made.close()


def ends(asked, isolation_level, request_timeout):
    """The number of the partition, and 100 more for the end."""
    assert (isolation_level, request_timeout) == (IsolationLevel.READ_COMMITTED, 5.0)
    return {
        p: future(Thing(offset=p.partition + (100 if spec._value == -1 else 0)))
        for p, spec in asked.items()
    }


def test_topics_are_described_with_the_extent_of_each_partition(log):
    log._admin = Admin(list_topics=topics(a=[1, 1], b=[2], c=[0]), list_offsets=ends)
    assert log.describe(["a", "b", "none"]) == {
        "a": TopicDescription("a", {0: Extent(0, 100), 1: Extent(1, 101)}),
        "b": TopicDescription("b", {0: Extent(0, 100)}),
    }
    log._admin = Admin(list_topics=topics(a=[1]))
    assert log.describe(["none"]) == {}
    log._admin = Admin(list_topics=[topics(a=[1, -1]), topics(a=[0, 0])], list_offsets=ends)
    assert len(log.describe(["a"])["a"].extents) == 2
    assert len(log._admin.of("list_topics")) == 2


def test_a_topic_without_a_leader_keeps_no_other_one_from_being_described(log):
    log._admin = Admin(list_topics=topics(b=[1, -1], a=[1]), list_offsets=ends)
    assert log.describe(["a"]).keys() == {"a"}
    assert len(log._admin.of("list_topics")) == 1


def test_a_time_is_the_first_record_of_it_or_later_or_the_end_and_none_is_before_1970(log):
    asked = []

    def found(wanted, **_):
        asked.extend(spec._value for spec in wanted.values())
        return {
            p: future(Thing(offset=100 + p.partition if spec._value == -1 else 7 * p.partition - 1))
            for p, spec in wanted.items()
        }

    log._admin = Admin(list_topics=topics(a=[1, 1, 1]), list_offsets=found)
    places = [TopicPartition("a", n) for n in range(3)]
    assert log.offsets_at("a", -5) == dict(zip(places, (100, 6, 13), strict=True))
    assert asked == [-1, -1, -1, 0, 0, 0]
    assert log.offsets_at("a", 9).keys() == set(places)
    assert asked[-1] == 9
    log._admin = Admin(list_topics=topics())
    assert log.offsets_at("a", 9) == {}
    assert log._admin.of("list_offsets") == []


def test_why_the_other_brokers_do_not_answer_is_told_where_the_client_knows(log, monkeypatch):
    def silent(*_):
        raise RetriableError("no answer of 2")

    monkeypatch.setattr(asking, "RETRY_S", 0)
    monkeypatch.setattr(log, "_offsets", silent)
    log._admin = Admin(list_topics=topics(a=[1]))
    with pytest.raises(RetriableError, match="no answer of 2"):
        log.describe(["a"])
    assert log._admin.of("poll") == [((0,), {})] * 2
    monkeypatch.setattr(log, "_heard", Hearsay(LogError("host 2 is not known")))
    with pytest.raises(LogError, match="host 2 is not known"):
        log.describe(["a"])
    # What never passes is told without waiting for the rest of the time.
    log._admin = Admin(list_topics=SILENT)
    told = Hearsay(LogError("host 2 is not known"))
    monkeypatch.setattr(log, "_heard", told)
    for told.lasting, asked in ((True, 1), (False, 3)):
        told.cleared = False
        with pytest.raises(LogError, match="host 2 is not known"):
            log.cluster_id(9.0)
        assert (told.cleared, len(log._admin.of("list_topics"))) == (True, asked)


class Hearsay:
    """Something was heard about a broker, and is heard again at once when it is forgotten."""

    lasting = False

    def __init__(self, told):
        self.told = told

    def __bool__(self):
        return True

    def clear(self):
        self.cleared = True

    def why(self, servers, protocol, *, first):
        assert (servers, protocol, first) == ("nowhere:1", "plaintext", False)
        return self.told


def test_a_look_that_fails_at_first_is_told_as_such(log):
    def describe(asked, request_timeout):
        return {"t": future(SILENT)}

    log._admin = Admin(describe_topics=describe, list_topics=SILENT)
    client = log._admin
    for _ in range(2):
        with pytest.raises(LogError):
            log.look(["t"], [], 0.2)
    assert log._client() is client


def test_a_broker_is_asked_shortly_and_then_for_the_rest_of_the_time(log, monkeypatch):
    log._admin = Admin(list_topics=[SILENT, topics()])
    assert log.cluster_id(9.0) == "one"
    assert [named for _, named in log._admin.of("list_topics")] == [
        {"timeout": module.FIRST_S}, {"timeout": 9.0 - module.FIRST_S}
    ]  # fmt: skip
    log._admin = Admin(list_topics=[SILENT])
    with pytest.raises(RetriableError):
        log.cluster_id(0.5)
    assert [named["timeout"] for _, named in log._admin.of("list_topics")] == [0.5, 0.001]
    assert log._admin.of("poll") == [((0,), {})] * 3
    log._admin = Admin(list_topics=[REFUSED])
    with pytest.raises(LogError, match="asking for topics") as raised:
        log.cluster_id(9.0)
    assert not isinstance(raised.value, RetriableError)
    assert len(log._admin.of("list_topics")) == 1


def test_the_identity_is_asked_for_at_once_and_is_empty_where_the_broker_has_none(log):
    def described(bits):
        topic_id = Thing(
            get_most_significant_bits=lambda: bits[0], get_least_significant_bits=lambda: bits[1]
        )
        return lambda asked, request_timeout: {
            "t": future(Thing(topic_id=type("Id", (Thing,), {"__str__": lambda _: "abc"})(
                **vars(topic_id))))
        }  # fmt: skip

    for bits, known in (((0, 0), ""), ((1, 0), "abc"), ((0, 1), "abc")):
        log._admin = Admin(describe_topics=described(bits))
        answer = log.identity("t")
        assert len(log._admin.of("describe_topics")) == 1
        assert answer() == known


def test_topics_are_made_with_the_settings_asked_for_and_those_that_exist_left_alone(log):
    exists = wrong(KafkaError.TOPIC_ALREADY_EXISTS)

    def create(wanted, request_timeout):
        return {t.topic: future(exists if t.topic == "b" else None) for t in wanted}

    log._admin = Admin(
        create_topics=create, list_topics=[topics(a=[0]), topics(a=[0], b=[0])]
    )  # fmt: skip
    log.create({"a": 3, "b": 1})
    (((wanted,), _),) = log._admin.of("create_topics")
    assert [(t.topic, t.num_partitions, t.replication_factor) for t in wanted] == [
        ("a", 3, -1), ("b", 1, -1)
    ]  # fmt: skip
    assert [t.config for t in wanted] == [{"max.message.bytes": "10485760"}] * 2
    assert len(log._admin.of("list_topics")) == 2
    log.create({"a": 3}, forever=True)
    (wanted,) = log._admin.of("create_topics")[1][0]
    assert wanted[0].config == {
        "max.message.bytes": "10485760", "retention.ms": "-1", "retention.bytes": "-1",
        "cleanup.policy": "delete", "segment.bytes": "67108864",
    }  # fmt: skip
    log._admin = Admin()
    log.create({})
    assert log._admin.asked == []
    log._admin = Admin(create_topics=lambda wanted, request_timeout: {"a": future(REFUSED)})
    with pytest.raises(LogError, match="creating topic a"):
        log.create({"a": 1})


def test_a_broker_that_is_silent_about_a_new_topic_may_be_asked_again(log):
    log._admin = Admin(create_topics=lambda wanted, request_timeout: {"a": future(TimeoutError())})
    with pytest.raises(RetriableError, match="creating topic a: no answer"):
        log.create({"a": 1})


def test_a_topic_that_does_not_appear_is_told(log, monkeypatch):
    monkeypatch.setattr(asking, "RETRY_S", 0)
    log._admin = Admin(
        create_topics=lambda wanted, request_timeout: {"b": future(None)}, list_topics=topics(a=[0])
    )
    with pytest.raises(RetriableError, match="created, but not there yet: b, c"):
        log.create({"c": 1, "b": 1, "a": 1})


def test_what_is_compacted_is_told_of_those_whose_settings_may_be_seen(log, monkeypatch):
    policies = {
        "a": {"cleanup.policy": Thing(value="compact")}, "b": {"cleanup.policy": Thing(value=None)},
        "c": {"cleanup.policy": Thing(value="compact,delete")}, "d": {}, "e": REFUSED,
        "f": {"cleanup.policy": Thing(value="compact")},
        "g": {"cleanup.policy": Thing(value="delete")},
    }  # fmt: skip

    def describe(asked, request_timeout):
        return {resource: future(policies[resource.name]) for resource in asked}

    log._admin = Admin(describe_configs=describe)
    assert log.compacted("gfedcba") == {"a", "c", "f"}
    ((asked,), named), *more = log._admin.of("describe_configs")
    assert ([r.name for r in asked], named, more) == ([*"abcdefg"], {"request_timeout": 5.0}, [])
    assert log.compacted([]) == frozenset()
    assert len(log._admin.of("describe_configs")) == 1
    monkeypatch.setattr(asking, "RETRY_S", 0)
    policies["a"] = SILENT
    with pytest.raises(RetriableError, match="a: asking for its settings"):
        log.compacted("ab")


@pytest.mark.parametrize(
    ("told", "kept_ms"),
    [
        ({"retention.ms": "600", "cleanup.policy": "delete"}, 600),
        ({"retention.ms": "0", "cleanup.policy": "delete,compact"}, 0),
        ({"retention.ms": "-1", "cleanup.policy": "delete"}, None),
        ({"retention.ms": "600", "cleanup.policy": "compact"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_how_long_a_topic_is_kept_is_told_where_its_settings_may_be_seen(log, told, kept_ms):
    settings = REFUSED if told is None else {name: Thing(value=v) for name, v in told.items()}
    log._admin = Admin(
        describe_configs=lambda asked, request_timeout: {r: future(settings) for r in asked}
    )
    assert log.kept_ms("t") == kept_ms


class Reader:
    made: list[Reader]

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings, self.closed, self.asked = settings, 0, []
        self.made.append(self)

    def committed(self, asked: list[Any], limit_s: float) -> list[Any]:
        self.asked.append(([(p.topic, p.partition) for p in asked], limit_s))
        offsets = [7, OFFSET_INVALID, 0]
        return [
            Thing(topic=p.topic, partition=p.partition, offset=o, metadata=None, error=None)
            for p, o in zip(asked, offsets, strict=False)
        ]

    def close(self) -> None:
        self.closed += 1


def test_positions_are_read_by_readers_of_which_there_are_only_so_many(log, monkeypatch):
    Reader.made = []
    monkeypatch.setattr(module, "Consumer", Reader)
    monkeypatch.setattr(module, "READERS_MAX", 2)
    log._admin = Admin(list_topics=topics(t=[0, 0, 0]))
    known = {TopicPartition("t", 0): Committed(7, ""), TopicPartition("t", 2): Committed(0, "")}
    assert log.committed("g", "t") == known
    assert log.committed("g", "none") == {}
    assert log.committed("g", "t") == known
    assert Reader.made[0].asked == [([("t", 0), ("t", 1), ("t", 2)], 5.0)] * 2
    log.committed("g", "t", stable=False)
    assert [r.settings["isolation.level"] for r in Reader.made] == [
        "read_committed", "read_uncommitted"
    ]  # fmt: skip
    log.committed("h", "t")
    assert [(r.settings["group.id"], r.closed) for r in Reader.made] == [
        ("g", 1), ("g", 0), ("h", 0)
    ]  # fmt: skip
    monkeypatch.setattr(asking, "RETRY_S", 0)
    monkeypatch.setattr(Reader, "committed", lambda *_: silent())
    with pytest.raises(RetriableError, match="committed positions of h in t"):
        log.committed("h", "t")
    log.close()
    log.close()
    assert [r.closed for r in Reader.made] == [1, 1, 1]


def test_what_is_answered_about_positions_is_a_position_none_or_an_error():
    def answer(offset, error=None, metadata="m"):
        return Thing(topic="t", partition=1, offset=offset, metadata=metadata, error=error)

    where = TopicPartition("t", 1)
    assert positions_of([answer(0)], "x") == {where: Committed(0, "m")}
    assert positions_of([answer(5, metadata=None)], "x") == {where: Committed(5, "")}
    assert positions_of([answer(OFFSET_INVALID)], "x") == {where: None}
    for offset in (-1, -2, -1000):
        with pytest.raises(LogError, match=f"x: offset {offset} means nothing"):
            positions_of([answer(offset)], "x")
    with pytest.raises(RetriableError, match="x: "):
        positions_of([answer(5, KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT))], "x")


def group(state="Stable", error=None, name="g", members=("one-" + "0" * 8, "two")):
    found = [Thing(id=member) for member in members]
    return Thing(id=name, state=state, error=error, members=found)


def test_members_are_told_by_their_identity_whatever_the_protocol_of_the_group(log):
    identity = "app.one"
    member = f"{identity}-12345678-1234-1234-1234-123456789abc"
    log._admin = Admin(list_groups=[[group(name="x"), group(members=[member])]])
    assert log.members("g") == {identity}
    log._admin = Admin(list_groups=[[group(name="x")]])
    assert log.members("g") == frozenset()
    described = Thing(members=[
        Thing(group_instance_id="a", member_id="1"), Thing(group_instance_id=None, member_id="2")
    ])  # fmt: skip
    log._admin = Admin(
        list_groups=[[group("Dead")]],
        describe_consumer_groups=lambda asked, request_timeout: {"g": future(described)},
    )
    assert log.members("g") == {"a", "2"}
    unknown = wrong(KafkaError.GROUP_ID_NOT_FOUND)
    for problem, told in ((unknown, None), (REFUSED, LogError)):
        log._admin = Admin(
            list_groups=[[group("Dead")]],
            describe_consumer_groups=lambda asked, request_timeout, p=problem: {"g": future(p)},
        )
        if told is None:
            assert log.members("g") == frozenset()
        else:
            with pytest.raises(told, match="describing group g"):
                log.members("g")


def test_a_group_that_cannot_be_told_of_now_is_asked_for_again(log):
    loading = KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
    log._admin = Admin(list_groups=[SILENT, [group(error=loading)], [group(members=["one"])]])
    assert log.members("g") == {"one"}
    denied = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
    log._admin = Admin(list_groups=[[group(error=denied)]])
    with pytest.raises(LogError, match="describing group g"):
        log.members("g")
    log._admin = Admin(list_groups=[[group(members=["one"])]])
    with pytest.raises(FencedError, match="has members"):
        log.reset("g", {})


def test_deleting_records_waits_for_every_answer(log):
    log._admin = Admin(delete_records=lambda asked, request_timeout: {asked[0]: future(None)})
    log.trim(TopicPartition("t", 2), 9)
    (((asked,), named),) = log._admin.of("delete_records")
    assert ([(p.topic, p.partition, p.offset) for p in asked], named) == (
        [("t", 2, 9)], {"request_timeout": 5.0}
    )  # fmt: skip
    log._admin = Admin(delete_records=lambda asked, request_timeout: {asked[0]: future(REFUSED)})
    with pytest.raises(LogError, match="deleting what is before 9"):
        log.trim(TopicPartition("t", 2), 9)


def test_a_client_that_does_not_take_its_settings_says_what_to_correct():
    def refusing(said):
        def make():
            raise KafkaException(KafkaError(KafkaError._INVALID_ARG, said))

        return make

    for said, remedy in (
        ('No such configuration property: "sasl.mechanisme"', "did you mean sasl.mechanism"),
        ('No such configuration property: "xxxxxxxxxxxx"', "its names are those of librdkafka"),
        (
            'No such configuration property: "startingoffsets"',
            "say --from earliest, latest or a time",
        ),
        ('No such configuration property: "schema.registry.url"', "say --schema-registry-url"),
        ("Unsupported SASL mechanism: X", "say --kafka sasl.mechanism=PLAIN"),
        ("no", "correct it: it stands in --kafka"),
    ):
        with pytest.raises(LogError, match="Kafka client: ") as raised:
            made(refusing(said))
        assert raised.value.remedy.startswith(remedy), raised.value.remedy
    assert made(lambda: 7) == 7

    def bare():
        raise KafkaException("text")

    with pytest.raises(LogError, match="Kafka client: text"):
        made(bare)
