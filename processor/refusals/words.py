"""The settings that words of other processors stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("checkpointlocation", "checkpoint", "checkpointdir", "statedir"), "data_dir"),
    **dict.fromkeys(("trigger", "processingtime", "batchduration", "batchinterval"), "interval"),
    **dict.fromkeys(("master", "parallelism", "concurrency", "threads", "numworkers"), "workers"),
    **dict.fromkeys(("availablenow", "once"), "until_caught_up"),
    **dict.fromkeys(("brokers", "broker", "brokeraddress", "servers"), "bootstrap_servers"),
    **dict.fromkeys(("startingoffsets", "autooffsetreset", "offsetreset"), "from_"),
    **dict.fromkeys(("redis", "stateurl", "statestore"), "redis_url"),
    "processingguarantee": "guarantee",
    "maxoffsetspertrigger": "batch_records_max",
}


def meant(name: str) -> str:
    """The setting that a word of Spark, Flink, Faust or Quix stands for; empty for none.

    >>> meant("checkpointLocation"), meant("interval")
    ('data_dir', '')
    """
    return _WORDS.get(name.replace("_", "").replace("-", "").lower(), "")
