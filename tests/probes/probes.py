"""All probes, and how one is run."""

from __future__ import annotations

from contextlib import ExitStack

from tests.probes import ends, takeover, trimming, unread, wide
from tests.probes.bed import Bed, Probe
from tests.services.kafka import LocalKafka

PROBES = [
    Probe("feed", "Offsets in a transaction of a group that never reads its topic?", unread.feed),
    Probe(
        "feed-next", "And with group.protocol=consumer?", unread.feed_of_the_next_protocol,
        in_tests=False,
    ),
    Probe("feed-held", "Whom does a held position hold up?", unread.stable_read),
    Probe(
        "feed-forgotten", "How long does a broker keep them?", unread.forgotten,
        in_tests=False, settings=unread.FORGETS,
    ),
    Probe("hanging", "Where does a partition end under a hanging transaction?", ends.hanging),
    Probe("ends", "Who is told the high watermark, who the last stable offset?", ends.asked),
    Probe("wide", "Is one transaction over 100 partitions whole?", wide.all_or_none),
    Probe("wide-times", "How long does one over 40 or 100 partitions take?", wide.times),
    Probe("large", "Do blocks of 512 KiB arrive?", wide.large),
    Probe("killed", "How soon is a dead owner's transaction ended?", takeover.killed),
    Probe("killed-committed", "And if it had just committed?", takeover.committed),
    Probe("left-alone", "And if nobody ends it?", takeover.left_alone),
    Probe("zombie", "What becomes of an owner that only stood still?", takeover.zombie),
    Probe("nothing-open", "And with nothing open?", takeover.nothing_open),
    Probe("every-task", "What does fencing cost the owner's other tasks?", takeover.every_task),
    Probe("trimmed", "A topic for ever, trimmed by delete_records?", trimming.trimmed),
    Probe("trimmed-open", "Does a broker trim an open transaction?", trimming.past_open),
    Probe("kept", "Are old records kept?", trimming.kept, settings=trimming.SWEEPS),
    Probe(
        "room", "Does trimming give room on the disk?", trimming.room,
        in_tests=False, settings=trimming.SWEEPS,
    ),
    Probe(
        "comes-back", "Does what was trimmed stay away?", trimming.comes_back,
        in_tests=False, settings={},
    ),
]  # fmt: skip


def tried(probe: Probe, servers: str, *, short: bool) -> list[str]:
    """What a probe saw; raises `UnlikeError` where the broker does not do as the design needs."""
    with ExitStack() as stack:
        broker = None
        if probe.settings is not None:
            broker = LocalKafka(probe.settings)
            stack.callback(broker.close)
            servers = broker.bootstrap_servers
        return list(probe.run(Bed(servers, stack, short=short, broker=broker)))
