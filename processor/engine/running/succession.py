"""One plan at a time in a group: another topology under the same application id waits.

Both would take partitions of one input, and each would publish its share. So who starts looks at
the group first, and every head tells the plan that committed it::

    no other member in the group              -> join
    a head is of this plan, or there is none  -> join: its workers are at work, or begin
    all heads are of another plan             -> wait outside until its workers are gone

A rolling upgrade passes: new workers wait, ready, while old ones are stopped one after the other,
and begin when the last has gone. Two plans that begin at one moment see each other's heads within
seconds; then the one whose name is the greater leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from processor.connectors.ports import Log
from processor.engine.restore import grown
from processor.engine.restore.identity import Identity
from processor.engine.running.untaken import Untaken
from processor.errors import RetriableError, StandbyError, StateMismatchError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest

LOOK_S: Final = 2.0


class Succession:
    """Decides whether a worker may be in its group.

    Args:
        plan: the plan's identity.
        instance: the worker's, so that a former self is not taken for somebody else.
        note: hears once of each time of waiting.
        who: of a stage that hands a watermark on, who the worker is.

    ``begun`` is the number of partitions once all of them were seen to have a committed position:
    from then on one without it has lost it.
    """

    def __init__(
        self,
        log: Log,
        app: str,
        topic: str,
        *,
        plan: str,
        instance: str,
        note: Callable[[str], None],
        who: Identity | None = None,
    ) -> None:
        self._log, self._app, self._topic, self._who = log, app, topic, who
        self.plan, self._instance, self._note = plan, instance, note
        self._before: dict[TopicPartition, str] = {}
        self._told = False
        self._untaken = Untaken()
        self.begun = 0

    def check_start(self) -> None:
        """Before joining; raises `StandbyError` while the group is another plan's."""
        others = self._log.members(self._app) - {self._instance}
        heads = self._log.committed(self._app, self._topic, stable=False) if others else {}
        plans = {p: _plan(head) for p, head in heads.items()}
        if plans and not {self.plan, ""} & set(plans.values()):
            self._wait(plans, f"its workers are in the group, {len(others)} of them")
        self._before = plans
        self._told = False

    def check_running(self, partitions: int, own: Collection[TopicPartition]) -> None:
        """Now and then; raises `StandbyError` where another plan has begun beside this one.

        So where a partition is nobody's: who leaves and comes back has all shared anew.
        """
        others = {TopicPartition(self._topic, n) for n in range(partitions)} - set(own)
        try:
            # Stable ones would have to be waited for: the others commit one transaction after the
            # other, and seldom is none of them open.
            asked = others or self._who
            found = self._log.committed(self._app, self._topic, stable=False) if asked else {}
        except RetriableError:
            return
        if self._who is not None:
            grown.check_others(self._who, found)
        heads = {partition: found.get(partition) for partition in sorted(others)}
        try:
            self._untaken.check(heads, own)
        except StandbyError as error:
            self._note(error.message)
            raise
        plans = {p: _plan(head) for p, head in heads.items() if head is not None}
        if len(plans) + len(own) == partitions:
            self.begun = partitions
        new = {p: plan for p, plan in plans.items() if plan != self._before.get(p, plan)}
        rivals = {p: plan for p, plan in new.items() if plan not in ("", self.plan)}
        self._before = plans | dict.fromkeys(own, self.plan)
        if rivals and self.plan > min(rivals.values()):
            self._wait(rivals, "both have begun")

    def is_of_another(self, head: Committed) -> bool:
        """Whether a head was committed by another plan, or knows of fewer partitions."""
        fewer = self._who is not None and grown.known(head) != self._who.partitions
        return fewer or _plan(head) != self.plan

    def _wait(self, plans: Mapping[TopicPartition, str], why: str) -> None:
        message = (
            f"{self._app}: another topology runs under this application id, as the committed "
            f"offset of {min(plans)} tells: {why}; this one waits until its workers have stopped"
        )
        if not self._told:
            self._told = True
            self._note(message)
        raise StandbyError(
            message,
            remedy="where this is no upgrade: give the topology an application id of its own",
        )


def _plan(head: Committed) -> str:
    """The plan that committed a head; empty where it does not tell, or is no manifest."""
    try:
        return Manifest.parse(head.metadata).plan
    except StateMismatchError:
        return ""
