"""A broker that dies, stands still or cannot be heard; answers that are lost or late."""

from __future__ import annotations

import signal
import time

from tests.catalogue.case import case
from tests.catalogue.counting import Counting, alone
from tests.catalogue.proxy import (
    ANSWERS,
    END_TXN,
    PRODUCE,
    REQUESTS,
    TXN_OFFSET_COMMIT,
    behind_a_proxy,
)
from tests.services.kafka import LocalKafka

GOES_ON = "goes on, exact"


def _through_a_proxy(servers, api, direction):
    """One worker behind a proxy that keeps back one message in the middle of its batches."""
    broker, proxy = behind_a_proxy(servers)
    stage = Counting(servers.bench(kafka=broker))
    stage.feed(200)
    run = stage.start("a", "--bootstrap-servers", proxy.address)
    stage.counted(run)
    placed = proxy.hold(api, direction)
    stage.feed(200)
    placed.caught()
    return stage, run, placed


@case(
    "kafka: the answer to a commit is lost",
    done="the answer to EndTxn is held until the worker has given up waiting, and for good",
    expected="asks what was committed, adopts it, goes on, exact",
    in_tests=True,
)
def lost_acknowledgement(servers):
    stage, run, _ = _through_a_proxy(servers, END_TXN, ANSWERS)
    stage.feed(200).counted(run)
    assert not run.events("batch undone"), run.tail()
    stage.finish(run)


@case(
    "kafka: the request of a commit comes late",
    done="EndTxn is held until the batch was tried again under a new epoch, then let through",
    expected="the late end ends nothing; goes on, exact",
)
def late_end(servers):
    stage, run, late = _through_a_proxy(servers, END_TXN, REQUESTS)
    stage.counted(run)
    assert len(run.events("batch undone")) == 1, run.tail()
    late.release()
    stage.feed(200).counted(run)
    stage.finish(run)


@case(
    "kafka: the request of a commit comes late, into the next transaction",
    done="EndTxn is held past the time-out and let through while another batch's transaction runs",
    expected="the late end ends nothing; goes on, exact",
)
def late_end_into_the_next(servers):
    broker, proxy = behind_a_proxy(servers)
    stage = Counting(servers.bench(kafka=broker))
    stage.feed(200)
    # The fifth batch takes 3 s longer between its outputs and its offsets.
    run = stage.start("a", "--bootstrap-servers", proxy.address, slow_at="after:begin#9=2")
    late = proxy.hold(END_TXN, REQUESTS)
    late.caught()
    run.until(lambda r: r.batches() >= 4, "batches after it")
    late.release()
    stage.feed(400).counted(run)
    stage.finish(run)


@case(
    "kafka: the answer to the offsets is lost",
    done="the answer to TxnOffsetCommit is held past the time-out",
    expected="the batch is aborted and tried again; goes on, exact",
)
def lost_offsets(servers):
    stage, run, _ = _through_a_proxy(servers, TXN_OFFSET_COMMIT, ANSWERS)
    stage.feed(200).counted(run)
    assert run.events("batch undone"), run.tail()
    stage.finish(run)


@case(
    "kafka: the offsets come late",
    done="TxnOffsetCommit is held until the batch was tried again, then let through",
    expected="the late offsets count for nothing; goes on, exact",
)
def late_offsets(servers):
    stage, run, late = _through_a_proxy(servers, TXN_OFFSET_COMMIT, REQUESTS)
    stage.counted(run)
    late.release()
    stage.feed(200).counted(run)
    stage.finish(run)


@case(
    "kafka: outputs come late",
    done="Produce is held until the batch was tried again, then let through",
    expected="the late outputs are in no transaction; goes on, exact",
)
def late_outputs(servers):
    stage, run, late = _through_a_proxy(servers, PRODUCE, REQUESTS)
    stage.counted(run)
    late.release()
    stage.feed(200).counted(run)
    stage.finish(run)


@case(
    "kafka: three brokers are restarted one after the other",
    done="three replicas, two needed; each broker ended by SIGTERM and started again under load, "
    "then each killed and started again",
    expected="goes on, exact",
)
def rolling_brokers(servers):
    cluster = servers.own_cluster()
    stage = Counting(servers.bench(kafka=cluster), 1200)
    pair = stage.pair()
    for end in (LocalKafka.stop, LocalKafka.kill):
        for broker in cluster.brokers:
            stage.feed(100)
            end(broker)
            stage.feed(100).counted(*pair)
            broker.restart()
            cluster.whole()
    stage.counted(*pair)
    stage.finish(*pair)


def _broken(servers):
    """A broker of its own, a worker in the middle of its batches."""
    broker = servers.own_kafka()
    stage = Counting(servers.bench(kafka=broker), 900)
    stage.feed(300)
    run = stage.start("a")
    stage.counted(run)
    stage.feed(300)
    return broker, stage, run


@case(
    "kafka: the broker is killed",
    done="SIGKILL in the middle of batches, then started again with its data",
    expected=GOES_ON,
)
def killed_broker(servers):
    broker, stage, run = _broken(servers)
    broker.kill()
    broker.restart()
    stage.feed(300).counted(run)
    stage.finish(run)


@case(
    "kafka: the broker stands still",
    done="SIGSTOP for 8 s, longer than a commit and a session may take, then SIGCONT",
    expected=GOES_ON,
)
def still_broker(servers):
    broker, stage, run = _broken(servers)
    broker._process.send_signal(signal.SIGSTOP)
    time.sleep(8)  # the fault, as long as it lasts
    broker._process.send_signal(signal.SIGCONT)
    stage.feed(300).counted(run)
    stage.finish(run)


def _cut(servers, *directions):
    """The way of one of two workers is cut, the other takes over; then it heals."""
    broker, proxy = behind_a_proxy(servers)
    stage = Counting(servers.bench(kafka=broker), 900)
    first = stage.start("a", "--bootstrap-servers", proxy.address)
    second = stage.start("b")
    first.owns(2), second.owns(2)
    stage.feed(300).counted(first, second)
    stage.feed(150)
    proxy.cut(*directions)
    stage.feed(150)
    alone(second)
    stage.counted(first, second)
    proxy.heal()
    second.owns(2)
    stage.feed(300).counted(first, second)
    stage.finish(first, second)


@case(
    "kafka: one worker is cut off",
    done="nothing passes between one of two workers and the broker until the other has all; healed",
    expected="the other takes over; healed, both share again; exact",
)
def cut_off(servers):
    _cut(servers, REQUESTS, ANSWERS)


@case(
    "kafka: one worker is not heard",
    done="what one of two workers says does not arrive until the other has all; then all of it",
    expected="the other takes over; healed, both share again; exact",
)
def not_heard(servers):
    _cut(servers, REQUESTS)


@case(
    "kafka: one worker hears nothing",
    done="one of two workers gets no answers until the other has all; then all of them",
    expected="the other takes over; healed, both share again; exact",
)
def hears_nothing(servers):
    _cut(servers, ANSWERS)
