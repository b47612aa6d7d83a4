import threading

import pytest
from structlog.testing import capture_logs

from processor.app import lookout as module
from processor.app.lookout import AGAIN_S, BOUND_S, Lookout, Server
from processor.clock import ManualClock
from processor.connectors.memory.store import MemoryStore
from processor.errors import RetriableError, StoreAwayError, StoreError, TopicGoneError
from processor.metrics.standing import Standing, Topic
from processor.model.log import TopicPartition, View

ROLES = {"in": "input", "out": "output", "in-dead-letters": "dead_letters"}
WHOLE = View({"in": 2, "out": 1, "in-dead-letters": 1})
A, B = TopicPartition("in", 0), TopicPartition("in", 1)


class Scripted:
    """A log that answers what it is told to, or raises it; and a worker that stands somewhere."""

    def __init__(self):
        self.answer = WHOLE
        self.members_have = frozenset()
        self.stands = Standing(member=True, positions={A: 5, B: 7})

    def look(self, topics, ends_of, timeout_s):
        self.asked = set(topics), set(ends_of)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def held(self, group, timeout_s):
        return self.members_have

    def standing(self):
        return self.stands


class Store(MemoryStore):
    problem = None

    def ping(self):
        if self.problem:
            raise self.problem


class Made:
    def __init__(self):
        self.clock, self.log, self.store = ManualClock(), Scripted(), Store()
        self.lookout = Lookout(
            "app", ROLES, self.log, self.store, self.clock,
            names=("Kafka at broker:9092", "Redis at cache:6379"), worker=self.log,
        )  # fmt: skip
        self.ask()

    def ask(self, times=1):
        for _ in range(times):
            self.lookout.broker.ask(self.lookout.ask_broker)
            self.lookout.store.ask(self.lookout.ask_store)

    def troubles(self):
        return dict(self.lookout.troubles())

    def told(self):
        with capture_logs() as lines:
            self.lookout.tell()
        return [(line["log_level"], line["event"], line["what"]) for line in lines]


@pytest.fixture
def made():
    return Made()


def test_a_server_is_up_as_long_as_its_last_answer_is_younger_than_the_bound():
    clock = ManualClock()
    server = Server("x", clock)
    assert not server.up()
    assert server.silent() == "x has not answered yet"
    server.ask(lambda: None)
    clock.advance(BOUND_S - 0.1)
    assert server.up()
    clock.advance(0.2)
    assert not server.up()
    server.ask(lambda: None)
    assert server.up()


@pytest.mark.parametrize("problem", [StoreAwayError("timed out"), ValueError("closed")])
def test_a_question_that_breaks_is_no_answer(problem):
    def ask():
        raise problem

    server = Server("x", ManualClock())
    server.ask(ask)
    assert not server.up()
    assert server.problem in ("timed out", "closed")


def test_a_server_that_refuses_is_told_with_its_words(made):
    made.store.problem = StoreError("MISCONF: no room on its disk")
    made.ask()
    made.clock.advance(BOUND_S)
    made.ask()
    assert made.troubles() == {
        "Redis at cache:6379": "Redis at cache:6379 has refused for 6 s: "
        "MISCONF: no room on its disk"
    }


def test_while_all_is_well_there_is_nothing_to_tell(made):
    assert made.troubles() == {}
    assert made.told() == []
    assert made.log.asked == (set(ROLES), {A, B})
    made.lookout.check(0)


def test_a_server_that_does_not_answer_is_told_by_its_name_then_each_minute_until_it_does(made):
    made.store.problem = StoreAwayError("Redis at cache:6379 did not answer in time")
    made.ask()
    assert made.told() == []
    made.clock.advance(BOUND_S)
    made.lookout.broker.ask(made.lookout.ask_broker)
    wrong = "Redis at cache:6379 has not answered for 6 s"
    assert made.troubles() == {"Redis at cache:6379": wrong}
    assert made.told() == [("warning", "not well", wrong)]
    assert made.told() == []
    made.clock.advance(AGAIN_S)
    made.lookout.broker.ask(made.lookout.ask_broker)
    assert made.told() == [("warning", "not well", "Redis at cache:6379 has not answered for 66 s")]
    made.store.problem = None
    made.ask()
    assert made.told() == [("info", "well again", "Redis at cache:6379")]


def test_one_server_that_hangs_does_not_hide_the_other(made):
    hang, asked = threading.Event(), threading.Event()
    made.store.ping = lambda: asked.set() or hang.wait(10)
    made.log.answer = RetriableError("no answer")
    looked = threading.Event()
    look = made.log.look
    made.log.look = lambda *args: looked.set() or look(*args)
    with made.lookout.asking():
        assert asked.wait(10)
        assert looked.wait(10)
        hang.set()


def test_a_topic_that_is_not_there_twice_is_gone(made):
    made.log.answer = View({"in": 2, "in-dead-letters": 1}, frozenset({"out"}))
    made.ask()
    assert made.troubles() == {}  # a broker that has just started may not know it yet
    made.ask()
    assert made.troubles() == {"out": "output topic out is not there"}
    assert made.told() == [("warning", "not well", "output topic out is not there")]
    assert Topic("out", "output", up=False, partitions=0) in made.lookout.topics()
    made.log.answer = WHOLE
    made.ask()
    assert made.troubles() == {}
    assert made.told() == [("info", "well again", "out")]


def test_a_partition_without_a_leader_is_told_with_its_topic(made):
    made.log.answer = View(WHOLE.partitions, leaderless=frozenset({B}))
    made.ask(2)
    assert made.troubles() == {"in": "input topic in has no leader for partition 1"}


def test_a_topic_that_stays_away_ends_the_run_by_name(made):
    made.log.answer = View({"out": 1, "in-dead-letters": 1}, frozenset({"in"}))
    made.ask(2)
    made.clock.advance(19)
    made.ask()
    made.lookout.check(20)
    made.clock.advance(1)
    made.ask()
    with pytest.raises(TopicGoneError, match="input topic in is not there; given up after 20 s"):
        made.lookout.check(20)


def test_a_topic_that_comes_and_goes_is_not_given_up(made):
    for _ in range(5):
        made.log.answer = View({"out": 1, "in-dead-letters": 1}, frozenset({"in"}))
        made.ask(2)
        made.clock.advance(15)
        made.log.answer = WHOLE
        made.ask()
        made.lookout.check(20)


def test_of_a_broker_that_does_not_answer_nothing_is_shown(made):
    made.log.answer = View(WHOLE.partitions, stable={A: 9}, tops={A: 12})
    made.ask()
    assert made.lookout.lag(made.log.stands) == {A: 4}
    assert made.lookout.held(made.log.stands) == {A: 3}
    assert len(made.lookout.topics()) == len(ROLES)
    made.clock.advance(BOUND_S)
    assert made.lookout.lag(made.log.stands) == {}
    assert made.lookout.held(made.log.stands) == {}
    assert made.lookout.topics() == ()


def test_lag_grows_with_the_end_while_nothing_is_committed(made):
    for end in (5, 20, 300):
        made.log.answer = View(WHOLE.partitions, stable={A: end, B: 7})
        made.clock.advance(1)
        made.ask()
        assert made.lookout.lag(made.log.stands) == {A: end - 5, B: 0}


def test_where_asking_for_ends_takes_time_it_is_done_less_often(made, monkeypatch):
    spent = iter(range(100))
    monkeypatch.setattr(module.time, "thread_time", lambda: next(spent) * 0.02)
    made.log.answer = View(WHOLE.partitions, stable={A: 9, B: 9}, tops={A: 9, B: 9})
    asked = []
    for _ in range(12):
        made.ask()
        asked.append(bool(made.log.asked[1]))
        assert made.lookout.lag(made.log.stands) == {A: 4, B: 2}
        made.clock.advance(1)
    assert asked == [True, False, False, False] * 3
    made.log.stands = Standing(member=True, positions={A: 5, TopicPartition("in", 2): 0})
    made.ask()
    made.ask()
    assert made.log.asked[1]  # a partition that is new is asked for at once


def test_a_worker_without_partitions_waits_rightly_where_others_have_them_all(made):
    made.log.stands = Standing(member=True)
    for members_have, standby in (({A, B}, True), ({A}, False), ((), False)):
        made.log.members_have = frozenset(members_have)
        made.ask()
        assert made.lookout.standby is standby
    made.log.members_have = None  # the log does not tell: to be a member has to do
    made.ask()
    assert made.lookout.standby
    made.log.answer = View({"out": 1}, frozenset({"in"}))
    made.ask()
    assert made.lookout.standby is False


def test_a_group_that_nobody_knows_for_now_is_no_silent_broker(made):
    made.log.stands = Standing(member=True)

    def loading(*_):
        raise RetriableError("the coordinator is loading")

    made.log.held = loading
    made.ask()
    assert made.lookout.broker.up()
    assert not made.lookout.standby


def test_a_worker_with_partitions_never_asks_who_has_them(made):
    made.log.held = None
    made.ask()
    assert made.lookout.broker.up()
    assert not made.lookout.standby


def test_the_ends_of_new_partitions_are_asked_for_at_once(made, monkeypatch):
    monkeypatch.setattr(module, "PERIOD_S", 1000.0)
    made.log.stands = Standing(member=True)
    seen = threading.Semaphore(0)
    asked = set()
    look = made.log.look

    def look_and_tell(topics, ends_of, timeout_s):
        asked.update(ends_of)
        seen.release()
        return look(topics, ends_of, timeout_s)

    made.log.look = look_and_tell
    with made.lookout.asking():
        assert seen.acquire(timeout=10)
        made.log.stands = Standing(member=True, positions={A: 5})
        made.lookout.has({A: "a task"}.keys())
        assert seen.acquire(timeout=10)
        made.lookout.has({A: "a task"}.keys())
        assert not seen.acquire(timeout=0.1)
    assert asked == {A}


def test_asking_ends_with_the_worker(made):
    before = threading.active_count()
    with made.lookout.asking():
        assert threading.active_count() > before
    assert threading.active_count() == before
    assert module.LIMIT_S < BOUND_S
