"""Stage 2 under a fault: fed part by part, and held to what its input comes to."""

from __future__ import annotations

import psutil

from tests.integration.running import (
    POPULAR,
    enriched_lines,
    popular,
    read_popular,
    told,
    trips,
    until,
)

SMALL = ("--batch-records-max", 30, "--interval", "10ms")
# Every limit as short as a loaded machine bears, so that a fault outlasts it soon.
SHORT = ("--session-timeout", "4s", "--transaction-timeout", "3s")
STOPPED = 2  # exit code of a run that cannot go on, and says why


class Counting:
    """Trips are counted by cluster and hour, by workers named by their instances."""

    def __init__(self, bench, count=600, options=None):
        bench.create(of=options)
        self.bench = bench
        self.lines, self.fed = trips(count), 0

    def feed(self, count):
        """Some more trips; gives itself."""
        part = self.lines[self.fed : self.fed + count]
        assert len(part) == count
        values, keys = enriched_lines(part)
        self.bench.topics.fill(self.bench.enriched, values, keys=keys)
        self.fed += count
        return self

    def start(self, instance, *args, limits=SHORT, **faults):
        """A worker; ``faults`` are those of the seam: ``pause_at``, ``slow_at``, ``clock``."""
        env = {f"CATALOGUE_{name.upper()}": str(value) for name, value in faults.items()}
        module = "tests.catalogue.seam" if faults else "processor"
        args = ("--instance", instance, *SMALL, *limits, *args)
        return self.bench.run(POPULAR, *args, env=env, module=module)

    def pair(self, *args, **faults):
        """Worker ``a``, with the faults, and ``b``; each with half of the partitions."""
        runs = self.start("a", *args, **faults), self.start("b")
        for run in runs:
            run.owns(2)
        return runs

    def catch_up(self, *args):
        """One run over all that is there, which has to succeed."""
        return self.start("a", "--until-caught-up", *args).succeeds()

    def counted(self, *runs, limit_s=90):
        """Waits until all that was fed is counted; none of ``runs`` may end."""
        wanted = popular(self.lines[: self.fed])
        with self.bench.topics.reader(self.bench.popular) as reader:
            reader.until(lambda m: read_popular(m) == wanted, "counts", limit_s, runs)

    def finish(self, *runs):
        """All in good order, and exact."""
        for run in runs:
            run.terminate()
        for run in runs:
            run.succeeds(40)
        self.exact()

    def exact(self, lines=None):
        """What was published is what the input comes to; nothing twice, no count went back."""
        messages = self.bench.topics.read(self.bench.popular)
        assert read_popular(messages) == popular(self.lines[: self.fed] if lines is None else lines)
        assert all(counts == sorted(set(counts)) for counts in told(messages).values())

    def stops(self, run, *words, limit_s=60):
        """It has to end as one that cannot go on, and to say what, where and what to do."""
        assert run.exit_code(limit_s) == STOPPED, run.tail()
        said = run.text()
        for word in ("remedy:", *words):
            assert word in said, f"not said: {word}\n{run.tail()}"


def paused(run):
    """Waits until the process has stopped itself."""
    process = psutil.Process(run.process.pid)
    run.until(lambda _: process.status() == psutil.STATUS_STOPPED, "that it stands still")


def alone(run):
    """Waits until a worker has all partitions."""
    until(lambda: len(run.owned()) == 4, "all partitions for one")
