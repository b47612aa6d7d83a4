"""Compares what a run came to with one worker that nothing happened to, over the same input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from processor.testing.driver import TestDriver
from processor.testing.run import Run


def compare(run: Run) -> None:
    """Raise `SimulationError` unless outputs, dead letters and state are the same."""
    reference = TestDriver(run.scenario.topology(), partitions=run.scenario.partitions)
    topic = run.driver.plan.source().topic
    for message in run.log.read(topic):
        reference.log.feed(
            topic, [message.value()], keys=[message.key()], partition=message.partition()
        )
    reference.run()
    repeats = run.guarantee == "at-least-once"
    sinks = [sink for plan in run.driver.plans for sink in plan.published() if not sink.internal]
    for sink in sinks:
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
    if run.scenario.outside and (wrong := run.scenario.outside(run.driver, reference)):
        raise run.failure(wrong)
    letters = [[m.value() for m in d.dead_letters()] for d in (run.driver, reference)]
    _same_records(run, "dead letters", letters[0], letters[1], repeats=repeats)
    _same(run, "state", _state(run.driver), _state(reference))


def _last(run: Run, topic: str, driver: TestDriver | None = None) -> dict[Any, Any]:
    rows = (driver or run.driver).json(topic)
    return {tuple(row[name] for name in run.scenario.identity): row for row in rows}


def _state(driver: TestDriver) -> dict[Any, Any]:
    return {
        (partition, name): sorted(map(str, rows))
        for partition, operators in driver.state().items()
        for name, rows in operators.items()
    }


def _same_records(
    run: Run, what: str, got: Sequence[Any], want: Sequence[Any], *, repeats: bool
) -> None:
    found, wanted = Counter(got), Counter(want)
    if repeats:
        found = Counter(dict.fromkeys(found, 1))
        wanted = Counter(dict.fromkeys(wanted, 1))
    missing, surplus = wanted - found, found - wanted
    if missing or surplus:
        raise run.failure(
            f"{what}: {missing.total()} missing, {surplus.total()} too many: "
            f"{list(missing)[:3]} {list(surplus)[:3]}"
        )  # fmt: skip


def _same(run: Run, what: str, got: dict[Any, Any], want: dict[Any, Any]) -> None:
    wrong = [key for key in {**got, **want} if got.get(key) != want.get(key)]
    if wrong:
        key = wrong[0]
        raise run.failure(
            f"{what}: {len(wrong)} wrong, {key}: {got.get(key)} instead of {want.get(key)}"
        )
