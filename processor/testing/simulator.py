"""The simulator: many workers, one seed, every fault there is.

A script of actions is drawn from the seed while it runs: input, turns, crashes at any step of the
protocol and of the store, rebalances, zombies that wake up after their partitions moved, errors of
the broker before and after each call, a store that is down, owner records that hold anything, an
index that is lost. In the end everything is healed and run to rest; outputs and state must then be
those of one worker that nothing ever happened to.

The same seed gives the same script. A failure prints it with an arrow at the step.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from processor.clock import ManualClock
from processor.connectors.ports import Owner
from processor.engine.commit.protocol import Step
from processor.engine.running.options import Guarantee
from processor.errors import (
    AbortableError,
    FencedError,
    LogError,
    OutcomeUnknownError,
    StoreAwayError,
)
from processor.model.log import TopicPartition
from processor.testing.driver import START_MS, Crash, TestDriver, Who
from processor.testing.faults import FaultyLog, SteppedStore
from processor.testing.judge import compare
from processor.testing.run import Run, Scenario, SimulationError

STORED: Final = ("acquire", "snapshot", "collect")
"""What is done to the store outside the commit protocol."""

_FILES: Final = (Step.WRITE, Step.RENAME)
OUTSIDE: Final = tuple(
    f"{when}:{step}"
    for step in (*(s.value for s in _FILES), "intent", "intent-begin", "intent-commit", "call")
    for when in ("before", "after")
)
"""The steps of batches that are shown outside of Kafka."""

STEPS: Final = (
    *(f"{when}:{s.value}" for s in Step if s not in _FILES for when in ("before", "after")),
    *(f"{when}:{step}" for step in STORED for when in ("before", "after")),
    "before:process",
    "heal",
    "after:adopt",
)
ALL_STEPS: Final = (*STEPS, "before:audit", *SteppedStore.STEPS)
"""With those of the store's calls, which only the simulator comes to."""

TELLING: Final = (
    "before:collect",
    "after:store-index",
    "before:store-acquire",
    "before:store-write",
)
"""Where a worker that stands still and wakes up late could do most harm."""

_BEFORE: Final[dict[str, tuple[type[LogError], ...]]] = {
    "start": (LogError,),
    "begin": (FencedError,),
    "produce": (AbortableError, FencedError),
    "flush": (AbortableError, FencedError),
    "send_offsets": (AbortableError, FencedError),
    "commit": (AbortableError, FencedError, OutcomeUnknownError),
    "abort": (FencedError, LogError),
    "consumer.committed": (LogError,),
    "consumer.commit": (FencedError,),
}
_AFTER: Final[dict[str, tuple[type[LogError], ...]]] = {
    "produce": (AbortableError,),
    "flush": (AbortableError,),
    "send_offsets": (AbortableError,),
    "commit": (OutcomeUnknownError,),
    "consumer.commit": (OutcomeUnknownError,),
}


def simulate(scenario: Scenario, seed: int, guarantee: Guarantee = "exactly-once") -> list[str]:
    """Run one seed; returns its script, or raises `SimulationError`."""
    log, store = FaultyLog(ManualClock(START_MS)), SteppedStore()
    driver = TestDriver(
        scenario.topology(), partitions=scenario.partitions, workers=0, guarantee=guarantee,
        batch_records_max=8, log=log, store=store,
        on_checkpoint_loss=scenario.on_checkpoint_loss,
    )  # fmt: skip
    store.step = driver.passes
    run = Run(scenario, seed, guarantee, random.Random(seed), driver, log, set())
    try:
        for key, value in scenario.begin:
            driver.feed([value], key=key)
        _feed(run)
        for worker in _everyone(run)[:: scenario.workers]:
            _start(run, worker)
        for _ in range(scenario.actions):
            _act(run)
        _rest(run)
        compare(run)
    except SimulationError:
        raise
    except (Exception, Crash) as error:
        raise run.failure(f"{type(error).__name__}: {error}") from error
    return run.script


def _act(run: Run) -> None:
    actions: list[tuple[int, Callable[[Run], None]]] = [
        (14, _turn), (5, _feed), (3, _crash_at), (3, _fault), (2, _kill), (2, _come),
        (3, _stall), (1, _expire), (1, _leave), (1, _store_down),
        (1, _lose_record), (1, _repeat), (2, _later), (1, _disown), (2, _disown_at), (1, _no_index),
        (1, _catch_up),
    ]  # fmt: skip
    if run.scenario.on_checkpoint_loss != "stop":
        actions += [(1, _lose_all), (2, _lose_some), (1, _damage)]
    weights = [weight for weight, _ in actions]
    ((_, action),) = run.random.choices(actions, weights)
    action(run)


def _everyone(run: Run) -> list[Who]:
    """All workers that there may be, stage by stage."""
    _, *others = run.driver.stages()
    numbers = range(run.scenario.workers)
    return [*numbers, *((name, number) for name in others for number in numbers)]


def _task(run: Run) -> str:
    """Any task of any stage."""
    stage = run.random.randrange(len(run.driver.plans)) if len(run.driver.plans) > 1 else 0
    topic = run.driver.plans[stage].source().topic
    count = len(run.log.describe([topic])[topic].extents)
    return run.driver.task(run.random.randrange(count), stage)


def _sorted(workers: set[Who]) -> list[Who]:
    return sorted(workers, key=lambda who: ("", who) if isinstance(who, int) else who)


def _free(run: Run) -> list[Who]:
    """The workers that can be turned: alive, and not in the middle of a step."""
    return _sorted(run.alive - run.stalled)


def _turn(run: Run) -> None:
    if _free(run):
        worker = run.random.choice(_free(run))
        turns = run.random.randint(1, 4)
        run.tell(f"worker {worker}: {turns} turns")
        for _ in range(turns):
            if worker in _free(run):
                _one_turn(run, worker)


def _catch_up(run: Run) -> None:
    """A worker that is to end with its input passes the marks that transactions left there."""
    if _free(run):
        worker = run.random.choice(_free(run))
        run.tell(f"worker {worker}: is it caught up?")
        _one_turn(run, worker, run.driver.caught_up)


def _one_turn(run: Run, worker: Who, turn: Callable[[Who], bool] | None = None) -> None:
    """A turn; an error that ends a process ends the worker."""
    undone = len(run.driver.undone)
    try:
        (turn or run.driver.turn)(worker)
    except Crash as crash:
        run.tell(f"  crashed: {crash}")
        run.alive.discard(worker)
    except StoreAwayError:
        run.tell("  waits for the store")
    except LogError as error:
        run.tell(f"  ended: {error.message}")
        run.alive.discard(worker)
        run.driver.drop(worker)
    for verdict in run.driver.undone[undone:]:
        run.tell(f"  undone: {verdict.value}")


def _feed(run: Run) -> None:
    records = [run.scenario.feed(run.random) for _ in range(run.random.randint(1, 12))]
    run.tell(f"feed {len(records)} records")
    for key, value in records:
        run.driver.feed([value], key=key)


def _crash_at(run: Run) -> None:
    if run.alive:
        worker, step = run.random.choice(_sorted(run.alive)), _step(run)
        run.tell(f"worker {worker}: to crash at {step}")
        run.driver.crash_at(step, worker)


def _step(run: Run) -> str:
    """Any step there is, or one that workers have come to, or one that tells the most."""
    every = ALL_STEPS if run.scenario.outside is None else (*ALL_STEPS, *OUTSIDE)
    telling = TELLING if run.scenario.outside is None else (*TELLING, *OUTSIDE)
    known = sorted({step for step in run.driver.steps if step in every})
    return run.random.choice(run.random.choice([known or every, every, telling]))


_TOLD: Final = 0.6


def _stall(run: Run) -> None:
    """A worker stands still at a step; the group gives it up, and it wakes up as a zombie."""
    if not _free(run):
        return
    worker, step = run.random.choice(_free(run)), _step(run)
    run.tell(f"worker {worker}: to stall at {step}")

    def meanwhile() -> None:
        run.tell(f"  worker {worker} stalls at {step}, and its session ends")
        run.zombie = True
        run.stalled.add(worker)
        run.driver.evict(worker, told=run.random.random() < _TOLD)
        for _ in range(run.random.randint(1, 12)):
            run.random.choice([_turn, _turn, _feed])(run)
        run.stalled.discard(worker)
        run.tell(f"  worker {worker} goes on")

    run.driver.pause_at(step, worker, meanwhile)


def _fault(run: Run) -> None:
    table, when = run.random.choice([(_BEFORE, "before"), (_AFTER, "after")])
    call = run.random.choice(sorted(table))
    error = run.random.choice(table[call])
    run.tell(f"fault: {error.__name__} {when} {call}")
    faults = run.log.before if when == "before" else run.log.after
    skip: list[Exception | None] = [None] * run.random.randint(0, 2)
    faults.setdefault(call, []).extend([*skip, error("simulated")])


def _kill(run: Run) -> None:
    if _free(run):
        worker = run.random.choice(_free(run))
        run.tell(f"worker {worker}: killed")
        run.alive.discard(worker)
        run.driver.kill(worker)


def _come(run: Run) -> None:
    dead = _sorted(set(_everyone(run)) - run.alive)
    if dead:
        _start(run, run.random.choice(dead))


def _start(run: Run, worker: Who) -> None:
    run.tell(f"worker {worker}: started")
    try:
        run.driver.restart(worker)
        run.alive.add(worker)
    except LogError as error:
        run.tell(f"  ended: {error.message}")


def _expire(run: Run) -> None:
    """The session of any worker ends: of a dead one, or of one that becomes a zombie."""
    worker = run.random.choice(_everyone(run))
    run.tell(f"worker {worker}: session and transaction expire")
    run.driver.expire(worker)


def _leave(run: Run) -> None:
    if _free(run):
        worker = run.random.choice(_free(run))
        run.tell(f"worker {worker}: leaves")
        run.alive.discard(worker)
        run.driver.stop(worker)


def _store_down(run: Run) -> None:
    if _free(run):
        worker = run.random.choice(_free(run))
        run.tell(f"worker {worker}: a turn while the store is down")
        run.driver.store.down = True
        try:
            _one_turn(run, worker)
        finally:
            run.driver.store.down = False


def _lose_all(run: Run) -> None:
    run.tell("the store loses everything")
    run.driver.store.lose()


def _lose_some(run: Run) -> None:
    """Some of the newest, or some of all."""
    task = _task(run)
    epochs = run.driver.store.blobs(task)
    since = run.random.choice([0, max(epochs.values(), default=0) - run.random.randrange(3)])
    gone = [k for k in epochs if epochs[k] >= since and run.random.random() < 0.7]
    run.tell(f"the store loses of {task} epochs {sorted(epochs[k] for k in gone)}")
    run.driver.store.drop(task, gone)


def _damage(run: Run) -> None:
    task = _task(run)
    keys = [*run.driver.store.blobs(task)]
    if keys:
        run.tell(f"a bit of {task} flips in the store")
        run.driver.store.damage(task, run.random.choice(keys))


def _disown(run: Run) -> None:
    """Anything is written into an owner's record: safety must not rest on it."""
    task = _task(run)
    other = f"{run.driver.plan.app}.{run.random.randrange(run.scenario.workers)}"
    generation = run.random.choice([-1, 0, 1, 5, 1_000_000])
    token = run.random.choice(["", f"{other};{generation}", "anybody"])
    owner = run.random.choice([None, Owner(token, other, generation)])
    run.tell(f"{task} is said to be of {owner}")
    run.driver.store.disown(task, owner)


def _disown_at(run: Run) -> None:
    if _free(run):
        worker, step = run.random.choice(_free(run)), _step(run)
        run.tell(f"worker {worker}: an owner's record to change at {step}")
        run.driver.pause_at(step, worker, lambda: _disown(run))


def _no_index(run: Run) -> None:
    task = _task(run)
    run.tell(f"the index of {task} is lost")
    run.driver.store.drop_index(task)


def _lose_record(run: Run) -> None:
    run.tell("a record will be lost on its way")
    run.log.losing += 1


def _repeat(run: Run) -> None:
    run.tell("the next change of partitions is told twice")
    run.log.repeating += 1


def _later(run: Run) -> None:
    run.driver.advance(run.random.choice([0.1, 1.0, 30.0]))


def _rest(run: Run) -> None:
    """Heal everything, start whoever is dead, and run until nothing is left to do."""
    run.tell("heal, and run to rest")
    run.log.heal()
    run.driver.spare()
    for worker in _everyone(run):
        run.driver.expire(worker)
        if worker not in run.alive:
            run.driver.restart(worker)
    run.driver.run()
    for stage, plan in enumerate(run.driver.plans):
        committed, topic = run.driver.committed(stage), plan.source().topic
        for number, extent in run.log.describe([topic])[topic].extents.items():
            at = next((c.offset for p, c in committed.items() if p.partition == number), 0)
            # What a transaction leaves behind its last record is no record.
            left = run.log.scan(TopicPartition(topic, number), at, extent.high)
            if any(left):
                raise run.failure(f"{topic}[{number}] stands at {at} of {extent.high}")
