"""The simulator: many workers, one seed, every fault there is.

A script of actions is drawn from the seed while it runs: input, turns, crashes at any step of the
protocol, rebalances, zombies that wake up after their partitions moved, errors of the broker before
and after each call, a store that is down. In the end everything is healed and run to rest; outputs
and state must then be those of one worker that nothing ever happened to.

The same seed gives the same script. A failure prints it with an arrow at the step.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from processor.api.topology import Topology
from processor.clock import ManualClock
from processor.engine.heal import Policy
from processor.engine.protocol import Step
from processor.engine.worker import Guarantee
from processor.errors import (
    AbortableError,
    FencedError,
    LogError,
    OutcomeUnknownError,
    ProcessorError,
    StoreError,
)
from processor.testing.driver import Crash, TestDriver
from processor.testing.faults import FaultyLog

Feed = Callable[[random.Random], tuple[str, bytes]]
"""Draws one input record: its key and its value."""

STORED: Final = ("acquire", "snapshot", "collect")
"""What is done to the store outside the commit protocol."""

STEPS: Final = (
    *(f"{when}:{step.value}" for step in Step for when in ("before", "after")),
    *(f"{when}:{step}" for step in STORED for when in ("before", "after")),
    "before:process",
    "heal",
    "after:adopt",
)

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


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated.

    Args:
        topology: makes the topology anew.
        feed: draws input records.
        compare_state: whether state is compared, besides the outputs.
        updates: whether the last record of a key counts (``update``), or every record once.
        identity: the output's columns that make up a key, for ``updates``.
        on_checkpoint_loss: what the workers do; unless they stop, the store loses checkpoints.
    """

    topology: Callable[[], Topology]
    feed: Feed
    updates: bool
    identity: Sequence[str] = ()
    partitions: int = 3
    workers: int = 3
    actions: int = 60
    on_checkpoint_loss: Policy = "stop"


class SimulationError(ProcessorError):
    """A seed whose run came out wrong; the message has the script."""

    code = "simulation"


@dataclass(slots=True)
class _Run:
    scenario: Scenario
    seed: int
    guarantee: Guarantee
    random: random.Random
    driver: TestDriver
    log: FaultyLog
    alive: set[int]
    stalled: set[int] = field(default_factory=set)
    zombie: bool = False
    script: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
        self.script.append(line)


def simulate(scenario: Scenario, seed: int, guarantee: Guarantee = "exactly-once") -> list[str]:
    """Run one seed; returns its script, or raises `SimulationError`."""
    log = FaultyLog(ManualClock())
    driver = TestDriver(
        scenario.topology(), partitions=scenario.partitions, workers=0, guarantee=guarantee,
        batch_records_max=8, log=log, on_checkpoint_loss=scenario.on_checkpoint_loss,
    )  # fmt: skip
    run = _Run(scenario, seed, guarantee, random.Random(seed), driver, log, set())
    try:
        _feed(run)
        _start(run, 0)
        for _ in range(scenario.actions):
            _act(run)
        _rest(run)
        _compare(run)
    except SimulationError:
        raise
    except (Exception, Crash) as error:
        raise _failure(run, f"{type(error).__name__}: {error}") from error
    return run.script


def _act(run: _Run) -> None:
    actions: list[tuple[int, Callable[[_Run], None]]] = [
        (14, _turn), (5, _feed), (3, _crash_at), (3, _fault), (2, _kill), (2, _come),
        (3, _stall), (1, _expire), (1, _leave), (1, _store_down),
        (1, _lose_record), (1, _repeat), (1, _later),
    ]  # fmt: skip
    if run.scenario.on_checkpoint_loss != "stop":
        actions += [(1, _lose_all), (2, _lose_some), (1, _damage)]
    weights = [weight for weight, _ in actions]
    ((_, action),) = run.random.choices(actions, weights)
    action(run)


def _free(run: _Run) -> list[int]:
    """The workers that can be turned: alive, and not in the middle of a step."""
    return sorted(run.alive - run.stalled)


def _turn(run: _Run) -> None:
    if _free(run):
        worker = run.random.choice(_free(run))
        turns = run.random.randint(1, 4)
        run.tell(f"worker {worker}: {turns} turns")
        for _ in range(turns):
            if worker in _free(run):
                _one_turn(run, worker)


def _one_turn(run: _Run, worker: int) -> None:
    """A turn; an error that ends a process ends the worker."""
    try:
        run.driver.turn(worker)
    except Crash as crash:
        run.tell(f"  crashed: {crash}")
        run.alive.discard(worker)
    except (StoreError, LogError) as error:
        run.tell(f"  ended: {error.message}")
        run.alive.discard(worker)
        run.driver.drop(worker)


def _feed(run: _Run) -> None:
    records = [run.scenario.feed(run.random) for _ in range(run.random.randint(1, 12))]
    run.tell(f"feed {len(records)} records")
    for key, value in records:
        run.driver.feed([value], key=key)


def _crash_at(run: _Run) -> None:
    if run.alive:
        worker, step = run.random.choice(sorted(run.alive)), run.random.choice(STEPS)
        run.tell(f"worker {worker}: to crash at {step}")
        run.driver.crash_at(step, worker)


def _stall(run: _Run) -> None:
    """A worker stands still at a step; the group gives it up, and it wakes up as a zombie."""
    if not _free(run):
        return
    worker, step = run.random.choice(_free(run)), run.random.choice(STEPS)
    run.tell(f"worker {worker}: to stall at {step}")

    def meanwhile() -> None:
        run.tell(f"  worker {worker} stalls at {step}, and its session ends")
        run.zombie = True
        run.stalled.add(worker)
        run.driver.evict(worker)
        for _ in range(run.random.randint(1, 8)):
            _turn(run)
        run.stalled.discard(worker)
        run.tell(f"  worker {worker} goes on")

    run.driver.pause_at(step, worker, meanwhile)


def _fault(run: _Run) -> None:
    table, when = run.random.choice([(_BEFORE, "before"), (_AFTER, "after")])
    call = run.random.choice(sorted(table))
    error = run.random.choice(table[call])
    run.tell(f"fault: {error.__name__} {when} {call}")
    faults = run.log.before if when == "before" else run.log.after
    skip: list[Exception | None] = [None] * run.random.randint(0, 2)
    faults.setdefault(call, []).extend([*skip, error("simulated")])


def _kill(run: _Run) -> None:
    if _free(run):
        worker = run.random.choice(_free(run))
        run.tell(f"worker {worker}: killed")
        run.alive.discard(worker)
        run.driver.kill(worker)


def _come(run: _Run) -> None:
    dead = sorted(set(range(run.scenario.workers)) - run.alive)
    if dead:
        _start(run, run.random.choice(dead))


def _start(run: _Run, worker: int) -> None:
    run.tell(f"worker {worker}: started")
    try:
        run.driver.restart(worker)
        run.alive.add(worker)
    except LogError as error:
        run.tell(f"  ended: {error.message}")


def _expire(run: _Run) -> None:
    """The session of any worker ends: of a dead one, or of one that becomes a zombie."""
    worker = run.random.randrange(run.scenario.workers)
    run.tell(f"worker {worker}: session and transaction expire")
    run.driver.expire(worker)


def _leave(run: _Run) -> None:
    if _free(run):
        worker = run.random.choice(_free(run))
        run.tell(f"worker {worker}: leaves")
        run.alive.discard(worker)
        run.driver.stop(worker)


def _store_down(run: _Run) -> None:
    if _free(run):
        worker = run.random.choice(_free(run))
        run.tell(f"worker {worker}: a turn while the store is down")
        run.driver.store.down = True
        try:
            _one_turn(run, worker)
        finally:
            run.driver.store.down = False


def _lose_all(run: _Run) -> None:
    run.tell("the store loses everything")
    run.driver.store.lose()


def _lose_some(run: _Run) -> None:
    """Some of the newest, or some of all."""
    task = run.driver.task(run.random.randrange(run.scenario.partitions))
    epochs = run.driver.store.blobs(task)
    since = run.random.choice([0, max(epochs.values(), default=0) - run.random.randrange(3)])
    gone = [k for k in epochs if epochs[k] >= since and run.random.random() < 0.7]
    run.tell(f"the store loses of {task} epochs {sorted(epochs[k] for k in gone)}")
    run.driver.store.delete(task, gone)


def _damage(run: _Run) -> None:
    task = run.driver.task(run.random.randrange(run.scenario.partitions))
    keys = [*run.driver.store.blobs(task)]
    if keys:
        run.tell(f"a bit of {task} flips in the store")
        run.driver.store.damage(task, run.random.choice(keys))


def _lose_record(run: _Run) -> None:
    run.tell("a record will be lost on its way")
    run.log.losing += 1


def _repeat(run: _Run) -> None:
    run.tell("the next change of partitions is told twice")
    run.log.repeating += 1


def _later(run: _Run) -> None:
    run.driver.advance(run.random.choice([0.1, 1.0, 30.0]))


def _rest(run: _Run) -> None:
    """Heal everything, start whoever is dead, and run until nothing is left to do."""
    run.tell("heal, and run to rest")
    run.log.heal()
    run.driver.spare()
    for worker in range(run.scenario.workers):
        run.driver.expire(worker)
        if worker not in run.alive:
            run.driver.restart(worker)
    run.driver.run()
    committed = run.driver.committed()
    topic = run.driver.plan.source().topic
    for number, extent in run.log.describe([topic])[topic].extents.items():
        at = next((c.offset for p, c in committed.items() if p.partition == number), 0)
        if at < extent.high:
            raise _failure(run, f"{topic}[{number}] stands at {at} of {extent.high}")


def _compare(run: _Run) -> None:
    """Against one worker that nothing happened to, over the same input."""
    reference = TestDriver(run.scenario.topology(), partitions=run.scenario.partitions)
    topic = run.driver.plan.source().topic
    for message in run.log.read(topic):
        reference.log.feed(
            topic, [message.value()], keys=[message.key()], partition=message.partition()
        )
    reference.run()
    repeats = run.guarantee == "at-least-once"
    for sink in run.driver.plan.sinks:
        got, want = run.driver.values(sink.topic), reference.values(sink.topic)
        if run.scenario.updates:
            last = _last(run, sink.topic, reference)
            if repeats and run.zombie:
                # Its old update may come after the new owner's: no transaction fences it.
                told = run.driver.json(sink.topic)
                _same(run, sink.topic, {k: v for k, v in last.items() if v in told}, last)
            else:
                _same(run, sink.topic, _last(run, sink.topic), last)
        else:
            _same_records(run, sink.topic, got, want, repeats=repeats)
    letters = [[m.value() for m in d.dead_letters()] for d in (run.driver, reference)]
    _same_records(run, "dead letters", letters[0], letters[1], repeats=repeats)
    _same(run, "state", _state(run.driver), _state(reference))


def _last(run: _Run, topic: str, driver: TestDriver | None = None) -> dict[Any, Any]:
    rows = (driver or run.driver).json(topic)
    return {tuple(row[name] for name in run.scenario.identity): row for row in rows}


def _state(driver: TestDriver) -> dict[Any, Any]:
    return {
        (partition, name): sorted(map(str, rows))
        for partition, operators in driver.state().items()
        for name, rows in operators.items()
    }


def _same_records(
    run: _Run, what: str, got: Sequence[Any], want: Sequence[Any], *, repeats: bool
) -> None:
    found, wanted = Counter(got), Counter(want)
    if repeats:
        found = Counter(dict.fromkeys(found, 1))
        wanted = Counter(dict.fromkeys(wanted, 1))
    missing, surplus = wanted - found, found - wanted
    if missing or surplus:
        raise _failure(
            run, f"{what}: {missing.total()} missing, {surplus.total()} too many: "
            f"{list(missing)[:3]} {list(surplus)[:3]}"
        )  # fmt: skip


def _same(run: _Run, what: str, got: dict[Any, Any], want: dict[Any, Any]) -> None:
    wrong = [key for key in {**got, **want} if got.get(key) != want.get(key)]
    if wrong:
        key = wrong[0]
        raise _failure(
            run, f"{what}: {len(wrong)} wrong, {key}: {got.get(key)} instead of {want.get(key)}"
        )


def _failure(run: _Run, reason: str) -> SimulationError:
    lines = [f"    {line}" for line in run.script[:-1]] + [f"--> {run.script[-1]}"]
    return SimulationError(
        f"seed {run.seed} ({run.driver.plan.app}, {run.guarantee}): {reason}\n" + "\n".join(lines),
        remedy=f"run the same again: simulate(scenario, {run.seed}, {run.guarantee!r})",
    )
