"""Puts together what a worker commits with, and what brings its tasks back."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

from processor.clock import Clock
from processor.connectors.ports import Consumer, Log, Producer, Store
from processor.engine.commit.changelog import Changelog, topic_of
from processor.engine.commit.checkpoint import Checkpointer
from processor.engine.commit.committer import Committer, Probe
from processor.engine.commit.protocol import AT_LEAST_ONCE, EXACTLY_ONCE, with_files
from processor.engine.restore.heal import Healer
from processor.engine.restore.identity import Identity
from processor.engine.restore.lineage import Lineage
from processor.engine.restore.recovery import Recovery
from processor.engine.restore.upgrade import Upgrader
from processor.engine.running.carry import Carry
from processor.engine.running.keys import Keys
from processor.engine.running.options import Listener, Options
from processor.engine.running.outside import Outside
from processor.engine.running.succession import Succession
from processor.engine.running.trim import Trimmer, trimmer_of
from processor.operators.pipeline import Pipeline
from processor.plan import nodes
from processor.plan.fingerprint import Description, describe, fingerprint, identity, layout
from processor.plan.handed import handed
from processor.plan.nodes import Plan


def identity_of(plan: Plan, options: Options, transactional_id: str, partitions: int) -> Identity:
    """Who a worker is and what it runs."""
    set_aside = filter(None, (plan.dead_letters(), plan.late()))
    logs = options.on_checkpoint_loss == "changelog" and Pipeline(plan).stateful
    return Identity(
        plan.app, transactional_id, fingerprint(plan), partitions,
        # What another stage has handed on, or a feed, is read from its beginning: it is all ours.
        "earliest" if plan.source().internal or plan.source().feed else options.start_from,
        layout(plan), tuple(sink.topic for sink in plan.published() if not sink.internal),
        tuple(set_aside), topic_of(plan.app) if logs else None,
        tuple(sink.topic for sink in plan.sinks if sink.internal),
        handed(plan), plan.source().internal, identity(plan), plan.counts_lives(),
        any(sink.watermark is not None for sink in plan.sinks),
        plan.source().watermark is not None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker has as long as it lives, and what a membership begins with.

    What the ``plan`` hands on, files and calls are always committed in transactions.
    """

    log: Log
    store: Store
    clock: Clock
    carry: Carry
    pipeline: Pipeline
    checkpointer: Checkpointer
    succession: Succession
    trimmer: Trimmer
    changelog: Changelog | None
    identity: Identity
    lineage: Lineage
    description: Description
    options: Options
    listener: Listener
    probe: Probe
    plan: Plan
    outside: Outside

    def producer(self) -> Producer:
        """A producer that has begun: with it, what an earlier holder left open is ended."""
        producer = self.log.producer(
            self.identity.transactional_id if self._exactly_once() else None
        )
        try:
            producer.start(self.options.timeout_s)
        except BaseException:
            producer.close()
            raise
        return producer

    def committer(self, consumer: Consumer, producer: Producer) -> Committer:
        """Of a membership that begins."""
        files = any(isinstance(sink.outside, nodes.Files) for sink in self.plan.sinks)
        table = EXACTLY_ONCE if self._exactly_once() else AT_LEAST_ONCE
        return Committer(
            with_files(table) if files else table,
            consumer, producer, self.store, self.clock,
            renew=self.producer, probe=self.probe, timeout_s=self.options.timeout_s,
        )  # fmt: skip

    def _exactly_once(self) -> bool:
        # What is handed on to another stage is handed on once, whatever may become of outputs; and
        # a plain commit may land late, over files and promises that came instead.
        always = self.plan.counts_lives() or any(sink.internal for sink in self.plan.sinks)
        return always or self.options.guarantee == "exactly-once"

    def recovery(self, consumer: Consumer) -> Recovery:
        """Of a membership that begins."""
        options, listener = self.options, self.listener
        healer = Healer(
            options.on_checkpoint_loss, self.log, self.store, self.pipeline,
            checkpointer=self.checkpointer, clock=self.clock, changelog=self.changelog,
            records_max=options.limits.records_max, tell=listener.healed,
            probe=self.probe, step_s=options.heal_step_s,
        )  # fmt: skip
        upgrader = Upgrader(
            self.store, self.pipeline, self.checkpointer, self.description,
            allow_dropped=options.allow_dropped_state, tell=listener.upgraded, probe=self.probe,
        )  # fmt: skip
        return Recovery(
            self.log, consumer, self.store, self.pipeline,
            checkpointer=self.checkpointer, healer=healer, upgrader=upgrader,
            identity=self.identity, lineage=self.lineage, timeout_s=options.timeout_s,
            stable_s=options.stable_s, probe=self.probe, note=listener.noted,
            life=lambda: self.clock.now_ms() // 1_000 if self.identity.lives else 0,
        )  # fmt: skip


def parts_of(
    plan: Plan,
    log: Log,
    store: Store,
    clock: Clock,
    executor: Executor,
    *,
    instance: str,
    transactional_id: str,
    partitions: int,
    options: Options,
    listener: Listener,
    probe: Probe,
) -> Parts:
    """The parts of one worker; the arguments are those of `processor.engine.running.worker`."""
    topic, internal = plan.source().topic, plan.source().internal
    carry = Carry(plan, log, clock, partitions)
    keys = None if internal else Keys(plan, partitions, listener.noted)
    pipeline = Pipeline(plan, keys, listener.noted, carry.count)
    who = identity_of(plan, options, transactional_id, partitions)
    outside = Outside(plan, log, clock, probe, show=listener.shown, note=listener.noted)
    description, lineage = describe(plan), Lineage(log, topic)
    succession = Succession(
        log, plan.app, topic, plan=identity(plan), instance=instance, note=listener.noted,
        who=who if who.tells else None,
    )  # fmt: skip
    logs = options.on_checkpoint_loss == "changelog" and pipeline.stateful
    changelog = Changelog(log, plan.app, options.timeout_s) if logs else None
    checkpointer = Checkpointer(
        store, executor, who.fingerprint, partitions, transactional_id,
        changelog=changelog, description=str(description),
        plan=identity(plan), lineage=lambda: lineage.identity,
        doubts=options.doubts, begun=lambda: succession.begun,
        probe=probe, unsaved=listener.unsaved, stages=who.handed,
    )  # fmt: skip
    return Parts(
        log, store, clock, carry, pipeline, checkpointer, succession,
        trimmer_of(plan, log, options.on_checkpoint_loss, pipeline), changelog, who, lineage,
        description, options, listener, probe, plan, outside,
    )  # fmt: skip


def decides_lateness(plan: Plan) -> bool:
    """Whether a stage makes its watermark itself, of event times."""
    return plan.delay() is not None and plan.source().watermark is None
