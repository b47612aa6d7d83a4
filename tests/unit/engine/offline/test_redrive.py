"""Dead letters go to the input again, each once, whoever is killed at whatever step."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.engine.offline.letters import Wanted
from processor.engine.offline.redrive import Route, Terms, identity_of
from processor.errors import (
    AbortableError,
    FencedError,
    LogError,
    OutcomeUnknownError,
    RetriableError,
    SettingsError,
)
from processor.model.letters import REDRIVEN
from processor.model.log import Output, TopicPartition
from processor.testing import Crash
from processor.testing.faults import FaultyLog
from tests.unit.engine.lettered import (
    group_headers,
    headers,
    late_headers,
    log_with,
    put,
    redrive,
    sent,
)

STEPS = ["before:start", "after:start", "before:begin", "before:produce", "before:ledger",
         "before:flush", "before:commit", "after:commit"]  # fmt: skip


def values(*numbers):
    return sorted(b"v%d" % n for n in numbers)


@pytest.fixture
def small(monkeypatch):
    """Transactions of three letters."""
    monkeypatch.setattr("processor.engine.offline.redrive.MOST", 3)


def test_a_letter_is_sent_as_the_record_was():
    log = log_with()
    told = headers(7, partition=1, at_ms=500, own=[("a", b"\xff"), ("b", None), ("a", b"2")])
    log.feed("dead", [b"\x00\xff"], [b"\xfe"], headers=[told], timestamps_ms=[900])
    assert redrive(log).run().sent == 1
    (record,) = log.read("in")
    assert (record.partition(), record.key(), record.value()) == (1, b"\xfe", b"\x00\xff")
    assert record.timestamp()[1] == 500
    assert record.headers() == [("a", b"\xff"), ("b", None), ("a", b"2"), (REDRIVEN, b"1")]


def test_a_record_without_key_value_headers_or_timestamp_is_sent_without_them():
    log = log_with()
    log.feed("dead", [None], headers=[headers(7, at_ms=-1)])
    redrive(log).run()
    (record,) = log.read("in")
    assert (record.key(), record.value()) == (None, None)
    assert record.headers() == [(REDRIVEN, b"1")]
    assert record.timestamp()[1] == log._broker.clock.now_ms()  # when it was sent


def test_timestamps_may_be_those_of_sending():
    log = log_with()
    put(log, [headers(1, at_ms=500)])
    redrive(log, Terms(stamp="now")).run()
    assert log.read("in")[0].timestamp()[1] == log._broker.clock.now_ms()


def test_a_second_time_nothing_is_sent():
    log = log_with()
    put(log, [headers(n) for n in range(5)])
    assert redrive(log).run().sent == 5
    assert redrive(log).run().sent == 0
    assert sent(log) == values(*range(5))


def test_letters_that_come_later_are_sent_the_next_time():
    log = log_with()
    put(log, [headers(n) for n in range(5)])
    redrive(log).run()
    put(log, [headers(n) for n in range(5, 8)], start=5)
    assert redrive(log).run().sent == 3
    assert sent(log) == values(*range(8))


def test_nothing_is_sent_of_an_empty_topic():
    log = log_with(letters=3)
    assert redrive(log).run().sent == 0
    assert sent(log) == []


def test_letters_of_aborted_transactions_are_none():
    log = log_with()
    for n, end in enumerate(["abort", "commit", "abort", "commit"]):
        producer = log.producer("p")
        producer.start(0)
        producer.begin()
        producer.produce(Output("dead", [b"v%d" % n], None, [headers(n)], 0))
        getattr(producer, end)(0)
    assert redrive(log).run().sent == 2
    assert redrive(log).run().sent == 0
    assert sent(log) == values(1, 3)


# Which letters.


def test_filters_choose_and_what_they_left_is_sent_later():
    log = log_with()
    put(log, [headers(n, error="n/a" if n % 2 else "late clock") for n in range(6)])
    done = redrive(log, Terms(Wanted(error="n/a"))).run()
    assert (done.sent, done.unwanted) == (3, 3)
    assert sent(log) == values(1, 3, 5)
    done = redrive(log).run()
    assert (done.sent, done.unwanted) == (3, 0)
    assert sent(log) == values(*range(6))


def test_what_is_sent_through_two_filters_is_sent_once():
    log = log_with()
    steps = ["rides/decode", "rides/select at t.py:1"]
    put(log, [headers(n, stage=steps[n % 2], error=f"e{n % 3}") for n in range(12)])
    for wanted in (Wanted(step="select"), Wanted(error="e1"), Wanted(error="e1"), Wanted()):
        redrive(log, Terms(wanted)).run()
    assert sent(log) == values(*range(12))


def test_times_and_partitions_choose_too():
    log = log_with()
    told = [headers(n, partition=n % 2) for n in range(6)]
    log.feed("dead", [b"v%d" % n for n in range(6)], partition=0, headers=told,
             timestamps_ms=[100 * n for n in range(6)])  # fmt: skip
    terms = Terms(Wanted(since_ms=100, until_ms=500, partitions=frozenset({1})))
    assert redrive(log, terms).run().sent == 2
    assert sent(log) == values(1, 3)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([("trace", b"t")], "foreign"),
        (group_headers(1), "group"),
        (late_headers(1), "late"),
        (headers(1, stage="other/decode"), "app"),
        (headers(1, topic="elsewhere"), "topic"),
        (headers(1, partition=2), "partition"),
        (headers(1, own=[(REDRIVEN, b"3")]), "attempts"),
        (headers(1, own=[(REDRIVEN, b"99")]), "attempts"),
    ],
)
def test_a_letter_that_cannot_go_there_stays_and_is_told_each_time(told, why):
    log = log_with()
    put(log, [headers(5), told, headers(6)])
    for expected in (2, 0):
        done = redrive(log).run()
        assert (done.sent, done.stays) == (expected, {why: 1})
    assert sent(log) == values(0, 2)


def test_attempts_are_counted_on_and_bounded():
    log = log_with()
    put(log, [headers(1, own=[(REDRIVEN, b"1")])])
    assert redrive(log, Terms(attempts=1)).run().sent == 0
    assert redrive(log, Terms(attempts=2)).run().sent == 1
    assert log.read("in")[0].headers() == [(REDRIVEN, b"2")]


def test_a_record_that_the_input_would_delete_at_once_stays():
    log = log_with()
    log.keeping_ms["in"] = 600_000  # it is 1,000,000 now
    put(log, [headers(1, at_ms=399_999), headers(2, at_ms=400_000), headers(3, at_ms=-1)])
    done = redrive(log).run()
    assert (done.sent, done.stays) == (2, {"old": 1})
    assert redrive(log, Terms(stamp="now")).run().sent == 1
    assert sent(log) == values(0, 1, 2)


def test_of_two_letters_of_one_record_one_is_sent():
    log = log_with(letters=2)
    put(log, [headers(1), headers(2), headers(1), headers(1, partition=1)])
    put(log, [headers(2), headers(3)], letter=1, start=4)
    done = redrive(log).run()
    assert (done.sent, done.doubles) == (4, 2)
    put(log, [headers(3), headers(9)], start=6)
    done = redrive(log).run()
    assert (done.sent, done.doubles) == (1, 1)
    assert sent(log) == values(0, 1, 3, 5, 7)


def test_of_two_letters_of_one_record_in_two_transactions_one_is_sent(small):
    log = log_with()
    put(log, [headers(n % 4) for n in range(10)])
    done = redrive(log).run()
    assert (done.sent, done.doubles) == (4, 6)
    assert sent(log) == values(0, 1, 2, 3)


# Looking.


def test_a_look_tells_what_would_be_and_changes_nothing(small):
    log = log_with()
    told = [headers(n % 5, own=[(REDRIVEN, b"3")] if n == 4 else ()) for n in range(8)]
    put(log, told)
    looked = redrive(log).look()
    assert sent(log) == []
    assert not log.describe(["rides-redriven"])
    assert redrive(log).run() == looked
    assert redrive(log).look().sent == 0


def test_a_look_does_not_disturb_who_is_at_work():
    log = log_with()
    put(log, [headers(1)])

    def probe(step):
        if step == "before:commit":
            assert redrive(log).look().sent == 1

    assert redrive(log, probe=probe).run().sent == 1


# Topics.


def test_a_compacted_input_is_refused():
    log = log_with()
    log.compacting.add("in")
    with pytest.raises(SettingsError, match="in is compacted"):
        redrive(log)


@pytest.mark.parametrize("route", [Route("rides", "no", "in"), Route("rides", "dead", "no")])
def test_topics_that_are_not_there_are_refused(route):
    with pytest.raises(SettingsError, match="there is no topic 'no'"):
        redrive(log_with(), route=route)


def test_a_ledger_that_forgets_is_refused():
    log = log_with()
    put(log, [headers(1)])
    log.keeping_ms["rides-redriven"] = 604_800_000
    with pytest.raises(SettingsError, match="rides-redriven forgets"):
        redrive(log).run()
    log.keeping_ms.clear()
    log.compacting.add("rides-redriven")
    with pytest.raises(SettingsError, match="rides-redriven forgets"):
        redrive(log).run()
    assert sent(log) == []


def test_a_ledger_that_somebody_else_writes_to_is_refused():
    log = log_with()
    put(log, [headers(1)])
    redrive(log).run()
    for value in (b"hello", b"{}", b'{"form":2}', b"[]", None):
        log.feed("rides-redriven", [value])
        with pytest.raises(LogError, match=r"rides-redriven\[0\] offset \d+ is no record"):
            redrive(log).run()
        log.trim(TopicPartition("rides-redriven", 0), 10**6)


def test_nothing_is_sent_while_it_is_not_known_what_was():
    log = log_with()
    put(log, [headers(1)])
    redrive(log).run()
    put(log, [headers(2)], start=1)
    producer = log.producer("other")
    producer.start(0)
    producer.begin()
    producer.produce(Output("rides-redriven", [b"x"]))
    with pytest.raises(RetriableError, match="an open transaction holds back"):
        redrive(log).run()
    producer.abort(0)
    assert redrive(log).run().sent == 1
    assert sent(log) == values(0, 1)


def test_letters_of_a_topic_that_was_made_anew_are_new():
    log = log_with()
    put(log, [headers(n) for n in range(5)])
    redrive(log).run()
    log.make_anew("dead")
    put(log, [headers(n) for n in range(3, 7)], start=5)
    done = redrive(log).run()
    assert (done.sent, done.doubles) == (2, 2)  # of two records letters were sent before
    log.make_anew("in")
    log.make_anew("dead")
    put(log, [headers(n) for n in range(3)], start=20)
    assert redrive(log).run().sent == 3  # records of another input


def test_what_retention_has_taken_is_told():
    log = log_with()
    put(log, [headers(n) for n in range(6)])
    log.trim(TopicPartition("dead", 0), 2)
    done = redrive(log).run()
    assert done.sent == 4
    (note,) = done.notes
    assert note.startswith("dead[0]: what was before offset 2 is gone (retention), and from offset")
    assert "from offset 0 on not all of it was sent" in note
    put(log, [headers(9)], start=6)
    again = redrive(log).run()
    assert (again.sent, again.notes) == (1, [])  # it was told
    told = [orjson.loads(message.value()) for message in log.read("rides-redriven")]
    assert [one["offsets"] for one in told if one["topic"] == "dead"] == [[0, 6], [6, 1]]
    assert sent(log) == values(2, 3, 4, 5, 6)


def test_what_retention_has_taken_after_it_was_sent_is_not_told():
    log = log_with()
    put(log, [headers(n) for n in range(6)])
    redrive(log).run()
    log.trim(TopicPartition("dead", 0), 6)
    put(log, [headers(9)], start=6)
    done = redrive(log).run()
    assert (done.sent, done.notes) == (1, [])


def test_two_applications_that_share_a_topic_have_each_their_own():
    log = log_with()
    put(log, [headers(n, stage=f"{'rides' if n % 2 else 'other'}/decode") for n in range(6)])
    assert redrive(log).run().stays == {"app": 3}
    assert redrive(log, route=Route("other", "dead", "in")).run().sent == 3
    assert sent(log) == values(*range(6))


# Faults.


def killed_at(log, step, times=1, terms=None):
    """A redrive that is killed when it comes to a step for so many times, if it does."""
    left = times

    def probe(passed):
        nonlocal left
        left -= passed == step
        if passed == step and not left:
            raise Crash(step)

    try:
        redrive(log, terms, probe=probe).run()
    except Crash:
        return True
    return False


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_killed_at_any_step_and_begun_again_each_is_sent_once(small, step, times):
    log = log_with(letters=2)
    for letter in range(2):
        put(log, [headers(10 * letter + n, partition=n % 2) for n in range(7)],
            letter=letter, start=10 * letter)  # fmt: skip
    crashed = killed_at(log, step, times)
    assert crashed == (times == 1 or not step.endswith("start"))
    assert killed_at(log, step, times) or True
    redrive(log).run()
    assert sent(log) == values(*range(7), *range(10, 17))
    assert redrive(log).run().sent == 0


@pytest.mark.parametrize("step", STEPS[:2])
def test_of_two_that_start_at_once_one_sends_and_the_other_finds_nothing_left(step):
    log = log_with()
    put(log, [headers(n) for n in range(8)])
    others = []

    def probe(passed):
        if passed == step and not others:
            others.append(redrive(log).run().sent)

    assert redrive(log, probe=probe).run().sent == 0
    assert others == [8]
    assert sent(log) == values(*range(8))


@pytest.mark.parametrize("step", STEPS[2:])
def test_of_two_at_once_the_older_ends_and_each_is_sent_once(small, step):
    log = log_with()
    put(log, [headers(n) for n in range(8)])
    others = []

    def probe(passed):
        if passed == step and not others:
            others.append(redrive(log).run().sent)

    with pytest.raises(FencedError, match="another redrive of rides has begun"):
        redrive(log, probe=probe).run()
    assert others == [5 if step == "after:commit" else 8]
    assert sent(log) == values(*range(8))


def test_one_that_looked_at_the_topic_before_another_sent_more_sends_nothing():
    log = log_with()
    put(log, [headers(n) for n in range(4)])
    older = redrive(log)
    put(log, [headers(n) for n in range(4, 8)], start=4)
    redrive(log).run()
    assert older.run().sent == 0
    assert sent(log) == values(*range(8))


CALLS = ["start", "begin", "produce", "flush", "commit"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("skip", [0, 1, 2])
@pytest.mark.parametrize("error", [AbortableError, OutcomeUnknownError, RetriableError])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_that_fails_is_made_up_for_and_each_is_sent_and_counted_once(
    small, call, skip, error, when
):
    log = log_with(made=FaultyLog)
    put(log, [headers(n % 7) for n in range(8)])
    getattr(log, when)[call] = [*[None] * skip, error("simulated")]
    done = redrive(log).run()
    assert (done.sent, done.doubles) == (7, 1)
    assert sent(log) == values(*range(7))


def test_failures_are_forgotten_with_a_success(small):
    log = log_with(made=FaultyLog)
    put(log, [headers(n) for n in range(300)])
    # Many in all, and never many in a row: each second transaction is refused.
    log.before["commit"] = [AbortableError("refused"), None] * 60
    assert redrive(log).run().sent == 300
    assert sent(log) == values(*range(300))


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("failures", [30, 31])
def test_it_is_tried_thirty_times_in_a_row(small, failures, before):
    log = log_with(made=FaultyLog)
    put(log, [headers(n) for n in range(6)])
    log.before["begin"] = [*[None] * before, *[RetriableError("not now")] * failures]
    if failures == 30:
        assert redrive(log).run().sent == 6
    else:
        with pytest.raises(RetriableError, match="not now"):
            redrive(log).run()


def test_after_a_refusal_transactions_grow_again_to_their_full_size(monkeypatch):
    monkeypatch.setattr("processor.engine.offline.redrive.MOST", 64)
    log = log_with(made=FaultyLog)
    put(log, [headers(n) for n in range(300)])
    log.before["commit"] = [None, AbortableError("refused"), AbortableError("refused")]
    redrive(log).run()
    told = [orjson.loads(message.value()) for message in log.read("rides-redriven")]
    sizes = [one["offsets"][1] for one in told if one["topic"] == "dead"]
    assert sizes == [64, 16, 32, 64, 64, 60]


def test_one_letter_alone_is_tried_three_times():
    for failures, outcome in ((2, (1, {})), (3, (0, {"refused": 1}))):
        log = log_with(made=FaultyLog)
        put(log, [headers(1)])
        log.before["flush"] = [AbortableError("by chance")] * failures
        done = redrive(log).run()
        assert (done.sent, done.stays) == outcome


def test_a_log_that_never_answers_ends_it_by_name():
    log = log_with(made=FaultyLog)
    put(log, [headers(1)])
    log.before["commit"] = [OutcomeUnknownError("no answer")] * 100
    with pytest.raises(OutcomeUnknownError, match="no answer"):
        redrive(log).run()
    log.heal()
    redrive(log).run()
    assert sent(log) == values(0)


class Picky(FaultyLog):
    """Refuses some values, as a topic does whose records may not be so large."""

    poison = frozenset()

    def producer(self, transactional_id):
        made = super().producer(transactional_id)
        produce = made.produce

        def picky(output):
            if self.poison.intersection(output.values):
                raise AbortableError("too large", remedy="raise max.message.bytes")
            produce(output)

        made.produce = picky
        return made


def test_a_record_that_the_log_refuses_stays_alone_and_is_told():
    log = log_with(made=Picky)
    log.poison = frozenset({b"v13", b"v14", b"v70"})
    put(log, [headers(n) for n in range(100)])
    done = redrive(log).run()
    assert (done.sent, done.stays) == (97, {"refused": 3})
    assert done.notes == [f"dead[0] offset {n} is refused: too large" for n in (13, 14, 70)]
    assert sent(log) == values(*(n for n in range(100) if n not in {13, 14, 70}))
    log.poison = frozenset()
    assert redrive(log).run().sent == 3
    assert sent(log) == values(*range(100))


def test_where_every_record_is_refused_it_ends_with_the_reason():
    log = log_with(made=Picky)
    log.poison = frozenset(values(*range(100)))
    put(log, [headers(n) for n in range(100)])
    with pytest.raises(AbortableError, match="too large"):
        redrive(log).run()
    assert sent(log) == []


class Watched(FaultyLog):
    """Keeps the producers that were made."""

    def __init__(self, clock=None):
        super().__init__(clock)
        self.made = []

    def producer(self, transactional_id):
        self.made.append(super().producer(transactional_id))
        return self.made[-1]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (AbortableError, None), (OutcomeUnknownError, None), (FencedError, FencedError),
        (LogError, LogError), (KeyboardInterrupt, KeyboardInterrupt), (SystemExit, SystemExit),
        (None, None),
    ],
)  # fmt: skip
def test_nothing_is_left_open_however_it_ends(error, raised):
    log = log_with(made=Watched)
    put(log, [headers(1)])
    log.before["flush"] = [error("told") if error else None]
    if raised is None:
        redrive(log).run()
    else:
        with pytest.raises(raised):
            redrive(log).run()
    assert len(log.made) == (2 if error and raised is None else 1)
    assert all(producer.inner._closed for producer in log.made)
    identity = log._broker.identities[identity_of("rides")]
    assert identity.transaction is None
    assert sent(log) == values(*[0] * (raised is None))


def test_no_producer_is_made_to_look():
    log = log_with(made=Watched)
    put(log, [headers(1)])
    redrive(log).look()
    assert log.made == []


def test_the_identity_is_no_workers():
    assert identity_of("a") == "a::redrive"


# All of it, drawn by chance.

stages = st.sampled_from(["rides/decode", "rides/write at t.py:1", "other/decode"])
letter = st.builds(
    dict,
    offset=st.integers(0, 6),
    partition=st.integers(0, 2),
    stage=stages,
    error=st.sampled_from(["n/a", "late"]),
)
terms_ = st.builds(
    Terms,
    st.builds(Wanted, error=st.sampled_from(["", "n/a"]), step=st.sampled_from(["", "write"])),
)
action = st.one_of(
    st.tuples(st.just("put"), st.lists(letter, max_size=6), st.booleans(), st.integers(0, 1)),
    st.tuples(st.just("kill"), st.sampled_from(STEPS), st.integers(1, 3), terms_),
    st.tuples(st.just("run"), terms_),
)


@settings(deadline=None)
@given(st.lists(action, max_size=8))
def test_whatever_happens_each_record_is_sent_once_and_no_other(actions):
    from processor.engine.offline import redrive as module

    log, wanted, number = log_with(letters=2), {}, 0
    was, module.MOST = module.MOST, 2
    try:
        for what, *how in actions:
            if what == "put":
                told, committed, partition = how
                producer = log.producer("p")
                producer.start(0)
                producer.begin()
                for one in told:
                    output = Output("dead", [b"v%d" % number], None, [headers(**one)], partition)
                    producer.produce(output)
                    if committed and one["stage"].startswith("rides") and one["partition"] < 2:
                        place = one["partition"], one["offset"]
                        wanted.setdefault(place, set()).add(b"v%d" % number)
                    number += 1
                (producer.commit if committed else producer.abort)(0)
            elif what == "kill":
                killed_at(log, *how)
            else:
                redrive(log, *how).run()
        redrive(log).run()
        got = sent(log)
        assert len(got) == len(wanted)
        # Of each record one letter, whichever.
        assert all(len(letters.intersection(got)) == 1 for letters in wanted.values())
        assert redrive(log).run().sent == 0
    finally:
        module.MOST = was
