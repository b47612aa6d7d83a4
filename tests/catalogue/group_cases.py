"""Workers that stand still, are slow, come and go, or have another clock or another protocol."""

from __future__ import annotations

import signal

from tests.catalogue.case import case
from tests.catalogue.counting import Counting, alone, paused

POINTS = {
    "before:process": False,
    "after:stage": False,
    "after:begin": False,
    "after:flush": False,
    "after:send-offsets": True,
    "before:commit": False,
    "after:commit": False,
}


def _still(servers, point):
    stage = Counting(servers.bench(), 900)
    first, second = stage.pair(pause_at=f"{point}#3")
    stage.feed(500)
    paused(first)
    alone(second)
    stage.counted(second)
    first.process.send_signal(signal.SIGCONT)
    second.owns(2)
    # What was committed before the standstill is adopted; all else must not count.
    assert first.events("batch undone") or point == "after:commit", first.tail()
    stage.feed(400).counted(first, second)
    stage.finish(first, second)


def _still_at(point, in_tests):
    @case(
        f"kafka: a worker stands still {point.replace(':', ' ')}",
        done="SIGSTOP there in the third batch until the other worker has all, then SIGCONT",
        expected="the zombie is fenced and joins anew; exact",
        in_tests=in_tests,
    )
    def still(servers):
        _still(servers, point)


for _point, _in_tests in POINTS.items():
    _still_at(_point, _in_tests)


@case(
    "kafka: a batch takes longer than max.poll.interval",
    done="max.poll.interval.ms=4000; one batch of one of two workers takes 9 s",
    expected="the other takes over, the slow batch is not committed; exact",
)
def slow_batch(servers):
    stage = Counting(servers.bench(), 900)
    first, second = stage.pair(
        "--kafka", "consumer.max.poll.interval.ms=4000", slow_at="before:process#3=9"
    )
    stage.feed(500)
    alone(second)
    stage.counted(first, second)
    second.owns(2)
    stage.feed(400).counted(first, second)
    assert first.events("batch undone"), first.tail()
    stage.finish(first, second)


@case(
    "kafka: a rebalance storm",
    done="a second and a third worker join and leave eight times while a first has load",
    expected="goes on, exact",
)
def storm(servers):
    stage = Counting(servers.bench(), 2000)
    first = stage.start("a")
    first.owns(4)
    for turn in range(8):
        stage.feed(125)
        guests = [stage.start(name) for name in ("b", "c")[: 1 + turn % 2]]
        guests[0].until(lambda run: run.owned(), "a partition")
        stage.feed(125)
        for guest in guests:
            guest.terminate()
        for guest in guests:
            guest.succeeds(40)
    stage.counted(first)
    stage.finish(first)


@case(
    "kafka: workers are replaced one by one",
    done="each of three workers is ended by SIGTERM and started again while there is load",
    expected="goes on, exact",
)
def rolling(servers):
    stage = Counting(servers.bench(), 900)
    runs = {name: stage.start(name) for name in "abc"}
    for run in runs.values():
        run.until(lambda run: run.owned(), "a partition")
    for name, former in list(runs.items()):
        stage.feed(200)
        former.terminate().succeeds(40)
        runs[name] = stage.start(name)
        stage.feed(100)
        runs[name].until(lambda run: run.owned(), "a partition")
    stage.counted(*runs.values())
    stage.finish(*runs.values())


@case(
    "kafka: another group protocol, and back",
    done="workers stop and start again with group.protocol=consumer, then with classic",
    expected="goes on, exact",
)
def protocols(servers):
    stage = Counting(servers.bench(), 900)
    # So many generations that those of the next protocol begin below them.
    for name in "cdcd":
        guest = stage.start(name)
        guest.owns(4)
        guest.terminate().succeeds(40)
    for protocol in ("classic", "consumer", "classic"):
        settings = ("--kafka", f"group.protocol={protocol}")
        runs = [stage.start(name, *settings) for name in "ab"]
        for run in runs:
            run.owns(2)
        stage.feed(300).counted(*runs)
        stage.finish(*runs)


def _wrong_clock(servers, clock):
    stage = Counting(servers.bench(), 900)
    first, second = stage.pair(clock=clock)
    stage.feed(450).counted(first, second)
    first.terminate().succeeds(40)
    alone(second)
    stage.feed(450).counted(second)
    stage.finish(second)


@case(
    "kafka: a clock is an hour ahead",
    done="the wall clock of one of two workers; then the other takes over",
    expected="goes on, exact",
)
def clock_ahead(servers):
    _wrong_clock(servers, 3600)


@case(
    "kafka: a clock is an hour behind",
    done="the wall clock of one of two workers; then the other takes over",
    expected="goes on, exact",
)
def clock_behind(servers):
    _wrong_clock(servers, -3600)


@case(
    "kafka: a clock runs backwards",
    done="the wall clock of one of two workers, by a minute each time it is read",
    expected="goes on, exact",
)
def clock_backwards(servers):
    _wrong_clock(servers, "back")
