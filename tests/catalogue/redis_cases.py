"""Redis that loses, alters, refuses or delays."""

from __future__ import annotations

import time
from functools import partial

from tests.catalogue import redis_faults as faults
from tests.catalogue.case import case
from tests.catalogue.redis_counting import SMALL, Counting
from tests.integration.running import until
from tests.services import free_port

STOPS = "stops by name: STATE-LOST; with replay exact"
GIVES_UP = ("--give-up-after", "5s")
HEALS = {
    "stop": STOPS,
    "replay": "goes on, exact: healed by replay",
    "changelog": "goes on, exact: healed from the changelog",
}
MEMORY = "goes on, exact: healed from memory"


# A worker is killed, and Redis is not what it was.

STEPS = [f"{when}:{step}" for step in ("stage", "begin") for when in ("before", "after")]
STEPS += ["after:produce", "after:flush", "after:send-offsets", "before:commit", "after:commit"]
STEPS += ["after:adopt"]
HARM = {
    "kept": lambda server: None,
    "flushed": faults.flush,
    "tail cut": lambda server: faults.cut(server, 0.5),
    "byte flipped": faults.flip_first,
}
ALL_POLICIES = ("after:stage", "before:commit", "after:commit")


def _killed(servers, *, step, harm, policy):
    counting = Counting(servers, policy)
    counting.dies_at(step)
    HARM[harm](counting.redis)
    if harm == "kept":
        counting.finish()
    else:
        counting.comes_back(policy)


def _kills():
    for step in STEPS:
        for harm in HARM:
            all_ = harm != "kept" and step in ALL_POLICIES
            for policy in ("stop", "replay", "changelog") if all_ else ("replay",):
                case(
                    f"kill {step} x redis {harm} [{policy}]",
                    done=f"worker killed {step.replace(':', ' ')}, Redis {harm}, started again",
                    expected="goes on, exact" if harm == "kept" else HEALS[policy],
                )(partial(_killed, step=step, harm=harm, policy=policy))


_kills()


# Redis loses something under a worker that goes on.


def _loses(servers, *, lose, policy):
    """What is gone was there in memory: that is written anew, whatever the policy."""
    counting = Counting(servers, policy)
    run = counting.running()
    lose(servers, counting)
    counting.feed()
    counting.counted(run)
    counting.healed(run, "memory")
    counting.goes_on(run)
    # What was written from memory is whole: the next run needs no healing.
    counting.feed()
    counting.healed(counting.finish())


def _a_head(servers, counting):
    del servers
    for key in faults.blobs(counting.redis):
        faults.ask(counting.redis, "DEL", key)


def _stale(servers, counting):
    """A replica that has lost touch takes the primary's address."""
    replica = servers.own_redis()
    faults.follow(replica, counting.redis)
    faults.ask(replica, "REPLICAOF", "NO", "ONE")
    run = counting.bench.runs[-1]
    counting.feed()
    counting.counted(run)
    faults.take_over(counting.redis, replica)


LOSSES = {
    "FLUSHALL": ("FLUSHALL between two batches", lambda _, c: faults.flush(c.redis)),
    "AOF cut by a byte": (
        "appendfsync everysec, SIGKILL of Redis, the last byte of its file cut",
        lambda _, c: faults.cut(c.redis, 1),
    ),
    "AOF cut by half": (
        "appendfsync no, SIGKILL of Redis, half of its file cut",
        lambda _, c: (faults.configure(c.redis, appendfsync="no"), faults.cut(c.redis, 0.5)),
    ),
    "stale replica": ("a replica that lost touch is promoted", _stale),
    "deltas deleted": ("DEL of all deltas", _a_head),
}
for _name, (_done, _lose) in LOSSES.items():
    for _policy in HEALS:
        case(
            f"redis: {_name}, worker lives [{_policy}]",
            done=_done,
            expected=MEMORY,
        )(partial(_loses, lose=_lose, policy=_policy))


# Redis loses something that nobody has in memory.


def _rests(servers, policy, *args, **topics):
    """A task with a few checkpoints whose worker has ended in order."""
    counting = Counting(servers, policy, **topics)
    counting.running(*args).terminate().succeeds(20)
    counting.feed()
    return counting


def _blob_gone(servers, *, policy):
    counting = _rests(servers, policy)
    key, named = counting.a_blob()
    faults.ask(counting.redis, "DEL", key)
    if policy == "stop":
        counting.lost(counting.start(), f"{named} is missing")
    counting.comes_back(policy)


def _blob_altered(servers, *, policy):
    counting = _rests(servers, policy)
    key, named = counting.a_blob()
    faults.flip(counting.redis, key)
    if policy == "stop":
        counting.lost(counting.start(), f"{named} was altered: its digest is not the committed one")
    counting.comes_back(policy)


def _stale_between(servers, *, policy):
    counting = Counting(servers, policy)
    run = counting.running()
    _stale(servers, counting)
    run.kill()
    counting.feed()
    counting.comes_back(policy)


for _policy, _expected in HEALS.items():
    case(
        f"redis: one blob deleted [{_policy}]",
        done="DEL of one delta in the middle of a chain, started again",
        expected=_expected,
    )(partial(_blob_gone, policy=_policy))
    case(
        f"redis: one byte flipped [{_policy}]",
        done="one byte of one delta flipped, started again",
        expected=_expected.replace("STATE-LOST", "STATE-LOST, task, blob, digest"),
    )(partial(_blob_altered, policy=_policy))
    case(
        f"redis: stale replica, worker killed [{_policy}]",
        done="a replica that lost touch is promoted, the worker killed and started again",
        expected=_expected,
    )(partial(_stale_between, policy=_policy))


@case(
    "redis: AOF cut, then restored [stop]",
    done="half of the append-only file cut; the file put back from a backup",
    expected="stops by name: STATE-LOST; with the data restored exact",
)
def restored(servers):
    counting = _rests(servers, "stop")
    whole = faults.cut(counting.redis, 0.5)
    counting.lost(counting.start(), "restore the Redis data")
    faults.restore(counting.redis, whole)
    counting.healed(counting.finish())


@case(
    "redis: a byte of the file flipped [stop]",
    done="one byte flipped in the append-only file, Redis restarted",
    expected=STOPS,
)
def flipped_on_disk(servers):
    counting = _rests(servers, "stop")
    key, named = counting.a_blob()
    data = faults.ask(counting.redis, "GET", key)
    counting.redis.kill()
    path = faults.aof(counting.redis)
    at = path.read_bytes().index(data) + len(data) // 2
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([data[len(data) // 2] ^ 1]))
    counting.redis.restart()
    counting.lost(counting.start(), f"{named} was altered")
    counting.comes_back("stop")


def _snapshot_broken(servers, *, policy, breaks):
    """One partition, small batches: the chain is longer than 64, so a snapshot stands for it."""
    small = ("--batch-records-max", 4, "--interval", "1ms")
    counting = _rests(servers, policy, *small, partitions=1)
    chunks = faults.blobs(counting.redis, "s:*:0")
    assert chunks, "no snapshot was written"
    assert not faults.blobs(counting.redis, "d:1:*"), "what is before the snapshot was kept"
    breaks(counting.redis, chunks[-1])
    if policy == "stop":
        counting.lost(counting.start(), f"checkpoint {faults.parts(chunks[-1])[1]} of task")
    counting.comes_back(policy)


for _policy in ("stop", "replay"):
    for _name, _breaks in {
        "deleted": lambda server, key: faults.ask(server, "DEL", key),
        "altered": faults.flip,
    }.items():
        case(
            f"redis: snapshot {_name} [{_policy}]",
            done=f"a snapshot's chunk {_name}, started again",
            expected=HEALS[_policy],
        )(partial(_snapshot_broken, policy=_policy, breaks=_breaks))


# Redis evicts.


def _evicts(servers, *, policy):
    counting = Counting(servers, policy)
    faults.configure(counting.redis, maxmemory_policy="allkeys-lru")
    run = counting.running()
    assert "Redis may evict checkpoints: set noeviction" in run.text(), run.tail()
    run.terminate().succeeds(20)
    faults.evict(counting.redis)
    counting.feed()
    counting.comes_back(policy)


for _policy in ("stop", "replay"):
    case(
        f"redis: evicts [{_policy}]",
        done="maxmemory-policy allkeys-lru, and memory too small for all keys",
        expected=f"warns at the start; {HEALS[_policy]}",
    )(partial(_evicts, policy=_policy))


# Redis is slow, or is not there.


def _stands_still(counting, seconds):
    """Time itself is the fault here."""
    with faults.stopped(counting.redis):
        began = time.monotonic()
        counting.feed()
        until(lambda: time.monotonic() - began > seconds, "the stall", seconds + 10)


@case(
    "redis: stalled for 6 s",
    done="SIGSTOP of Redis for longer than the client's time-out of 5 s, then SIGCONT",
    expected="goes on, exact",
)
def stalled(servers):
    counting = Counting(servers)
    run = counting.running()
    _stands_still(counting, 6)
    counting.goes_on(run)


@case(
    "redis: stalled for 16 s",
    done="SIGSTOP of Redis for three time-outs, and longer than the group's session",
    expected="goes on, exact",
)
def stalled_long(servers):
    counting = Counting(servers)
    run = counting.running()
    _stands_still(counting, 16)
    counting.goes_on(run)


@case(
    "redis: stalled for good",
    done="SIGSTOP of Redis until the run gives up (--give-up-after 5s), then SIGCONT",
    expected="stops by name: did not answer in time; then exact",
)
def stalled_for_good(servers):
    counting = Counting(servers)
    run = counting.running(*SMALL, *GIVES_UP)
    with faults.stopped(counting.redis):
        counting.feed()
        words = ("error (store_away)", counting.redis.address, "did not answer in time")
        counting.stops(run, *words, "given up after")
    counting.finish()


@case(
    "redis: CLIENT PAUSE",
    done="CLIENT PAUSE 7000 ALL while records come",
    expected="goes on, exact",
)
def paused(servers):
    counting = Counting(servers)
    run = counting.running()
    faults.ask(counting.redis, "CLIENT", "PAUSE", "7000", "ALL")
    counting.goes_on(run)


@case(
    "redis: killed and back",
    done="SIGKILL of Redis, nothing lost, records come, up again",
    expected="goes on, exact",
)
def killed_and_back(servers):
    counting = Counting(servers)
    run = counting.running()
    counting.redis.kill()
    counting.feed()
    counting.redis.restart()
    counting.goes_on(run)


@case(
    "redis: gone for good",
    done="SIGKILL of Redis until the run gives up (--give-up-after 5s), then up again",
    expected="stops by name: cannot be reached; then exact",
)
def gone(servers):
    counting = Counting(servers)
    run = counting.running(*SMALL, *GIVES_UP)
    counting.redis.kill()
    counting.feed()
    counting.stops(run, "error (store_away)", counting.redis.address, "cannot be reached")
    counting.redis.restart()
    counting.finish()


@case(
    "redis: LOADING under a worker",
    done="SIGKILL of Redis; it loads its data for 6 s, and says so",
    expected="goes on, exact",
)
def loading(servers):
    counting = Counting(servers)
    run = counting.running()
    with faults.loading(counting.redis, 6):
        counting.feed()
    counting.goes_on(run)


@case(
    "redis: LOADING at the start",
    done="a run starts while Redis loads its data for 6 s",
    expected="waits and goes on, exact",
)
def loading_at_start(servers):
    counting = _rests(servers, "stop")
    with faults.loading(counting.redis, 6):
        run = counting.start("--until-caught-up").succeeds()
        assert not run.events("lost checkpoints healed"), run.tail()
    counting.exact()


@case(
    "redis: LOADING for too long",
    done="a run starts (--give-up-after 5s) while Redis loads its data for 60 s",
    expected="stops by name: still loading; then exact",
)
def loading_too_long(servers):
    counting = _rests(servers, "stop")
    with faults.loading(counting.redis, 60):
        run = counting.start("--until-caught-up", *GIVES_UP)
        counting.stops(run, "error (store_away)", counting.redis.address, "is still loading")
    counting.finish()


@case(
    "redis: refused at the start",
    done="a run starts (--give-up-after 5s) where nothing listens",
    expected="stops by name: cannot be reached; then exact",
)
def refused(servers):
    counting = _rests(servers, "stop")
    run = _at(counting, f"redis://127.0.0.1:{free_port()}/0", *GIVES_UP)
    counting.stops(run, "error (store_away)", "redis://127.0.0.1:", "cannot be reached")
    counting.finish()


def _at(counting, url, *args):
    """A run that is told of another Redis; the last address counts."""
    return counting.start("--until-caught-up", "--redis-url", url, *args)


# Redis refuses.


@case(
    "redis: wrong password",
    done="a run starts with a wrong password, with none, with the right one",
    expected="stops by name, the password not shown; then exact",
)
def password(servers):
    counting = _rests(servers, "stop")
    address = counting.redis.address
    faults.configure(counting.redis, requirepass="right-secret")
    for secret in ("wrong-secret", ""):
        run = _at(counting, f"redis://{secret and f':{secret}@'}{address}/0")
        told = "refused the user or the password" if secret else "wants a password"
        counting.stops(run, "error (store)", address, told)
        assert "secret" not in run.text(), run.tail()
    run = _at(counting, f"redis://:right-secret@{address}/0").succeeds()
    assert "secret" not in run.text(), run.tail()
    counting.exact()


@case(
    "redis: out of memory",
    done="maxmemory below what is used, noeviction: writes are refused; then raised",
    expected="stops by name: maxmemory, also when started again; raised: exact",
)
def out_of_memory(servers):
    counting = Counting(servers)
    run = counting.running()
    faults.configure(counting.redis, maxmemory=1_000_000)
    counting.feed()
    words = ("error (store)", counting.redis.address, "has reached maxmemory", "raise maxmemory")
    counting.stops(run, *words)
    counting.stops(counting.start(), *words)
    faults.configure(counting.redis, maxmemory=0)
    counting.healed(counting.finish())


@case(
    "redis: fail-over, address kept",
    done="FAILOVER to a replica in step, which gives it back 3 s later",
    expected="goes on, exact",
)
def failed_over_and_back(servers):
    counting = Counting(servers)
    run = counting.running()
    replica = servers.own_redis()
    faults.follow(replica, counting.redis)
    faults.fail_over(counting.redis, replica)
    began = time.monotonic()
    counting.feed()
    until(lambda: time.monotonic() - began > 3, "writes are refused")
    faults.fail_over(replica, counting.redis)
    counting.goes_on(run)


@case(
    "redis: READONLY for good",
    done="FAILOVER to a replica in step; the address stays the former primary's (gives up: 5s)",
    expected="stops by name: a replica; with the primary's address exact",
)
def read_only(servers):
    counting = Counting(servers)
    run = counting.running(*SMALL, *GIVES_UP)
    replica = servers.own_redis()
    faults.follow(replica, counting.redis)
    faults.fail_over(counting.redis, replica)
    counting.feed()
    counting.stops(
        run, "error (store_away)", counting.redis.address, "is a replica", "address of the primary"
    )
    _at(counting, replica.url).succeeds()
    counting.exact()
