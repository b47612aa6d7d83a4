"""What the stages share."""

import os
from datetime import UTC, datetime

from quixstreams import Application

INPUT, OUTPUT = os.environ["INPUT"], os.environ["OUTPUT"]


def application() -> Application:
    return Application(
        broker_address=os.environ["BOOTSTRAP"],
        consumer_group=os.environ["GROUP"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once" if os.environ["EXACTLY_ONCE"] else "at-least-once",
        state_dir=os.environ["STATE"],
        loglevel="WARNING",
    )


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
