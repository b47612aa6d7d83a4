"""Whether a worker's end is explained by what was done to it and to its servers."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

# What the store's client waits for an answer before it gives up, with room for its last try.
STORE_WAITS_S = 15.0
ERROR = re.compile(r"^error \((\w+)\): (.*(?:\n  remedy: .*)?)", re.MULTILINE)
# What the time to stop ran out for, in a process that has no time to tell it at length.
OVERDUE = re.compile(r'"event":"error","code":"(shutdown)","reason":"([^"]*)')
BROKEN = re.compile(
    r"Traceback \(most recent call last\)|\"exception\":|Exception in thread|Exception ignored"
    r"|Fatal Python error|Segmentation fault|%[0-3]\|.*assert|terminate called|double free"
)
JOINED = '"event":"worker starts"'


@dataclass(frozen=True)
class Away:
    """Seconds."""

    broker_s: float = 0.0
    store_s: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what is known of its time.

    For how long the broker and Redis were away at a stretch: ``recently`` of the last minute or so,
    ``ever`` since it was started.
    """

    code: int
    text: str
    terminated: bool
    killed: bool
    recently: Away = Away()
    ever: Away = Away()

    @property
    def error(self) -> tuple[str, str]:
        """The code and the words of the error that it ended with; empty where it told none."""
        found = ERROR.findall(self.text) or OVERDUE.findall(self.text)
        return found[-1] if found else ("", "")


def judged(ended: Ended) -> tuple[bool, str]:
    """Whether the end is explained; and the end in a few words, without what differs each time."""
    if ended.code == 0:
        return ended.terminated, "0 " + ("after SIGTERM" if ended.terminated else "by itself")
    if ended.code == -signal.SIGKILL:
        return ended.killed, "SIGKILL" + (" by the campaign" * ended.killed)
    if ended.code < 0:
        # Until it listens, a process does with a signal what any does.
        early = ended.code == -signal.SIGTERM and ended.terminated and JOINED not in ended.text
        return early, f"signal {signal.Signals(-ended.code).name}" + " while it started" * early
    code, words = ended.error
    if ended.code != 2 or not code:
        return False, f"{ended.code} without a named error"
    why = _explanation(ended, code)
    return bool(why), f"2 {code}{f', {why}' * bool(why)}: {plain(words)}"


def _explanation(ended: Ended, code: str) -> str:
    joined = JOINED in ended.text
    if code == "shutdown" and ended.terminated:
        return "it stood still, or a server did, when it was to stop"
    if code == "store" and ended.recently.store_s >= STORE_WAITS_S:
        return "Redis was away for longer than a worker waits"
    if code == "store" and ended.ever.store_s and not joined:
        return "Redis was away while it started"
    if code.startswith("log") and ended.ever.broker_s and not joined:
        return "the broker was away while it started"
    if code.startswith("log") and ended.recently.broker_s and ended.terminated:
        return "the broker was away while it stopped"
    return ""


def plain(words: str) -> str:
    """An error's first line without its numbers, names and places, to count equal ones."""
    line = words.splitlines()[0] if words else ""
    line = re.sub(r"redis://\S+|127\.0\.0\.1:\d+", "ADDRESS", line)
    line = re.sub(r"(\w+\.\w-\d+: )+", "", line)
    return re.sub(r"\d+(\.\d+)?", "N", line)[:160]


def broken(text: str) -> str:
    """The first sign of a crash in a log with the lines after it; empty where there is none."""
    found = BROKEN.search(text)
    if found is None:
        return ""
    start = text.rfind("\n", 0, found.start()) + 1
    return text[start : start + 3000]
