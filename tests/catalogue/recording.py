"""What a worker's ``/metrics`` and ``/readyz`` said while something was broken, second by second.

The alert rules are held against it by Prometheus' own tool, with a scrape and an evaluation every 5
seconds, as in docker/prometheus/prometheus.yml.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.services.handle import Unavailable
from tests.services.promtool import promtool

RULES = Path(__file__).parents[2] / "docker/prometheus/alerts.yml"
LOOK_S, SCRAPE_S = 0.5, 5
TARGET = {"job": "processor", "instance": "worker:9100"}


def get(port, path, timeout_s=4.0):
    """The status and the text of one of a worker's pages; status 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=timeout_s) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except OSError:
        return 0, ""


@dataclass
class Look:
    """One look: when (seconds since the recording began), readiness and its reason, samples."""

    at_s: float
    status: int
    why: str
    samples: dict = field(default_factory=dict, repr=False)

    def values(self, name, **labels):
        """The values of a metric whose labels hold these."""
        wanted = labels.items()
        return [
            value
            for (of, *pairs), value in self.samples.items()
            if of == f"processor_{name}" and wanted <= dict(pairs).items()
        ]

    def total(self, name, **labels):
        """Their sum; ``None`` where there is none."""
        values = self.values(name, **labels)
        return sum(values) if values else None


def recorded(run, servers):
    """A recording of a run that was given ``--metrics-port 0``; it ends with the case."""
    port = run.until(lambda r: r.events("metrics"), "its port")[0]["port"]
    recording = Recording(port)
    servers.at_the_end(recording.close)
    return recording


class Recording:
    """Looks at a worker until it is closed."""

    def __init__(self, port):
        self.port = port
        self.looks = []
        self._began_s, self._began = time.monotonic(), time.time()
        self._marked_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._record, daemon=True)
        self._thread.start()

    def _record(self):
        while not self._ended.wait(LOOK_S):
            at_s = time.monotonic() - self._began_s
            status, why = get(self.port, "readyz")
            found, text = get(self.port, "metrics")
            samples = {
                (sample.name, *sorted(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text if found == 200 else "")
                for sample in family.samples
            }
            self.looks.append(Look(at_s, status, why.strip(), samples))

    def mark(self):
        """The fault begins now."""
        self._marked_s = time.monotonic() - self._began_s

    def since(self):
        """The looks since the fault began."""
        return [look for look in self.looks if look.at_s >= self._marked_s]

    def until(self, so, what, limit_s=60.0):
        """Waits for a look since the fault began of which ``so`` holds; seconds since the fault."""
        deadline = time.monotonic() + limit_s
        while True:
            if found := next((look for look in self.since() if so(look)), None):
                return round(found.at_s - self._marked_s, 1)
            last = self.looks[-1] if self.looks else None
            assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}; last: {last}"
            time.sleep(LOOK_S / 5)

    def lasts(self, seconds):
        """Waits until the fault has lasted so long."""
        end_s = self._marked_s + seconds
        self.until(lambda look: look.at_s >= end_s, f"{seconds:g} s", seconds + 60)

    def not_ready(self, *words):
        """Seconds from the fault until ``/readyz`` is 503 and its reason has the words."""
        return self.until(
            lambda look: look.status == 503 and all(word in look.why for word in words),
            f"not ready, for: {words}",
        )

    def shows(self, name, value, **labels):
        """Seconds from the fault until a metric's sum has a value."""
        return self.until(lambda look: look.total(name, **labels) == value, f"{name} = {value}")

    def close(self):
        self._ended.set()
        self._thread.join(10)

    # The rules.

    def fired(self, directory):
        """Each alert that fires, with the seconds from the fault to its first time.

        ``None`` where this machine has no promtool, unless it is the one that decides.
        """
        tool = _tool()
        if tool is None:
            return None
        shutil.copy(RULES, directory / "alerts.yml")
        grid = int(self.looks[-1].at_s // SCRAPE_S) + 1
        (directory / "recorded.test.yml").write_text(self._as_test(grid))
        _, said = tool.run(directory, "test", "rules", "recorded.test.yml")
        found = {}
        for name, minutes, seconds in re.findall(
            r"alertname: (\w+), time: (?:(\d+)m)?(\d+)s", said
        ):
            at_s = 60 * int(minutes or 0) + int(seconds)
            found.setdefault(name, max(0.0, at_s - self._marked_s))
        assert found or "SUCCESS" in said, said
        return {name: round(at_s, 1) for name, at_s in found.items()}

    def _as_test(self, grid):
        """The recording as a unit test of the rules that expects silence: it tells what speaks."""
        scrapes = [self._scrape(number * SCRAPE_S) for number in range(grid)]
        lines = ["rule_files: [alerts.yml]", f"evaluation_interval: {SCRAPE_S}s", "tests:"]
        lines += [f"  - interval: {SCRAPE_S}s", "    input_series:"]
        for key in sorted({key for scrape in scrapes for key in scrape}):
            name, *pairs = key
            labels = ",".join(f'{k}="{v}"' for k, v in [*TARGET.items(), *pairs])
            values = _values([scrape.get(key) for scrape in scrapes])
            lines.append(f"      - {{series: '{name}{{{labels}}}', values: '{values}'}}")
        lines.append("    alert_rule_test:")
        for name in re.findall(r"- alert: (\w+)", RULES.read_text()):
            for number in range(grid):
                at = f"{number * SCRAPE_S}s"
                lines.append(f"      - {{eval_time: {at}, alertname: {name}, exp_alerts: []}}")
        return "\n".join(lines) + "\n"

    def _scrape(self, at_s):
        """What a scrape at that time saw."""
        found = [look for look in self.looks if at_s - SCRAPE_S < look.at_s <= at_s]
        look = found[-1] if found else None
        if look is None or not look.samples:
            # Before the first look nobody had looked yet.
            return {("up",): 0.0} if at_s > self.looks[0].at_s else {}
        return {("up",): 1.0} | {
            # The tool's clock begins at 0.
            key: value - self._began if key[0].endswith("_timestamp_seconds") and value else value
            for key, value in look.samples.items()
            if not key[0].endswith(("_bucket", "_created"))
        }


def _values(series):
    """A series in the tool's words: nothing before it began, an end where it was not scraped."""
    said, begun = [], False
    for value in series:
        begun = begun or value is not None
        missing = "stale" if begun else "_"
        said.append(missing if value is None else repr(float(value)))
    return " ".join(said)


@cache
def _tool():
    try:
        return promtool()
    except Unavailable as error:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        warnings.warn(f"the alert rules were not tried: {error}", stacklevel=2)
        return None
