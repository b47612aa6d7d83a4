"""Stage 2 on a Redis of its own: trips in, counts out, and what has to come of it."""

from __future__ import annotations

from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.catalogue import redis_faults as faults
from tests.integration.running import (
    POPULAR,
    enriched_lines,
    popular,
    read_popular,
    told,
    trips,
)

CRASHED = 70
SMALL = ("--batch-records-max", 30, "--interval", "10ms")
REPLAY = "--on-checkpoint-loss replay"


class Counting:
    """One topology with state, the Redis that is broken under it, and the oracle."""

    def __init__(self, servers, policy="stop", **topics):
        self.policy = policy
        self.redis = servers.own_redis()
        self.bench = servers.bench(redis=self.redis)
        self.bench.create(**topics)
        self.app = self.bench.app(POPULAR)
        self.lines = []

    def feed(self, count=300):
        more = trips(count, len(self.lines))
        self.lines += more
        values, keys = enriched_lines(more)
        self.bench.topics.fill(self.bench.enriched, values, keys=keys)

    def start(self, *args, policy=None, env=None):
        policy = policy or self.policy
        args = ("--instance", "a", *(args or SMALL), "--on-checkpoint-loss", policy)
        if policy == "changelog":
            args += ("--create-topics", 4)
        return self.bench.run(POPULAR, *args, env=env)

    def counted(self, run, limit_s=60):
        """Waits until all that was fed is counted; ``run`` lives all the time."""
        wanted = popular(self.lines)
        with self.bench.topics.reader(self.bench.popular) as reader:
            reader.until(lambda m: read_popular(m) == wanted, "all counts", limit_s, runs=[run])

    def running(self, *args):
        """A run that has counted its first trips."""
        self.feed()
        run = self.start(*args)
        self.counted(run)
        return run

    def goes_on(self, run):
        """The same process counts what comes next, ends in order, and all is exact."""
        self.feed()
        self.counted(run)
        run.terminate().succeeds(20)
        self.exact()

    def finish(self, *, policy=None):
        """A run to the end of the input, after which all is exact."""
        run = self.start("--until-caught-up", "--batch-records-max", 60, policy=policy)
        run.succeeds()
        self.exact()
        return run

    def trim(self):
        """Deletes all records of the input."""
        admin = AdminClient({"bootstrap.servers": self.bench.servers, "log_level": 2})
        topic = self.bench.enriched
        asked = [TopicPartition(topic, number, OFFSET_END) for number in range(4)]
        for answer in admin.delete_records(asked).values():
            answer.result(20)

    def exact(self):
        """Each count is right; none was published twice, none went back; nothing was set aside."""
        messages = self.bench.topics.read(self.bench.popular)
        assert read_popular(messages) == popular(self.lines)
        assert all(counts == sorted(set(counts)) for counts in told(messages).values())
        assert not self.bench.topics.read(self.bench.dead)

    def stops(self, run, *words, limit_s=60):
        """Ends with the code for an error that is known, and tells these words."""
        assert run.exit_code(limit_s) == 2, run.tail()
        text = run.text()
        missing = [word for word in ("error (", "remedy: ", *words) if word not in text]
        assert not missing, f"not told: {missing}\n{run.tail()}"
        assert "Traceback" not in text, run.tail()

    def lost(self, run, *words):
        """Stops since state is lost: says whose, and what can be done."""
        self.stops(run, "error (state_lost)", f"{self.app}/{self.bench.enriched}/", REPLAY, *words)

    def dies_at(self, step):
        """A run of several batches that is killed in its fourth."""
        self.feed(480)
        run = self.start(
            "--until-caught-up", "--batch-records-max", 60,
            env={"PROCESSOR_CRASH_AT": f"{step}#4"},
        )  # fmt: skip
        assert run.exit_code() == CRASHED, run.tail()
        assert run.batches() == 3, run.tail()

    def comes_back(self, policy):
        """After a loss: stops by name and does what the remedy says, or heals and goes on."""
        if policy == "stop":
            self.lost(self.start("--until-caught-up"))
            policy = "replay"
        run = self.finish(policy=policy)
        self.healed(run, policy)

    def healed(self, run, *hows):
        """The run told that it healed, and how."""
        assert {event["how"] for event in run.events("lost checkpoints healed")} == set(hows), (
            run.tail()
        )

    def a_blob(self, pattern="d:1:*"):
        """One checkpoint of one task: its key in Redis, and how an error tells of it."""
        key = faults.blobs(self.redis, pattern)[0]
        task, name = faults.parts(key)
        return key, f"checkpoint {name} of task {task}"
