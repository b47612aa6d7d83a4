"""The benchmarks are run by hand, so a step that was renamed would be seen late."""

import subprocess
import sys

import orjson

from benchmarks.contenders import CONTENDERS, TOPOLOGIES
from benchmarks.work import PAIR, answer, difference, work

MISSING = """
from benchmarks.profile import STEPS
steps = [(kind, name) for kind, names in STEPS.items() for name in names]
print([f"{kind.__name__}.{name}" for kind, name in steps if not hasattr(kind, name)])
"""


def test_every_step_that_the_profile_times_is_there():
    done = subprocess.run(
        [sys.executable, "-c", MISSING], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def micro(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.micro", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_the_small_steps_are_printed_for_the_formats_that_are_asked_for():
    code, told, error = micro("--formats", "json,csv", "--records", "50", "--batches", "1")
    assert (code, error) == (0, "")
    steps = [line.split("|")[1].strip() for line in told.splitlines()[2:]]
    for form in ("Json", "JsonSchema", "Registered JsonSchema"):
        for kind in ("flat", "nested"):
            for way in ("to", "from"):
                assert f"{form}, {kind}: {way} columns" in steps
    assert "Csv, flat: from columns" in steps
    assert not any(step.startswith("Avro") for step in steps)


def test_every_public_format_is_among_the_small_steps():
    code, told, _ = micro("--list")
    assert code == 0
    names = {name.partition(",")[0] for name in told.splitlines()}
    assert names >= {
        "Json", "Csv", "Text", "Bytes", "Avro", "Protobuf", "JsonSchema", "Debezium", "CloudEvents",
        "Arrow", "Registered Avro", "Registered JsonSchema", "Registered Protobuf",
    }  # fmt: skip
    assert micro("--formats", "yaml")[0] == 2


def test_the_work_of_the_join_is_that_of_plain_python():
    done = work(5, 3_000)
    rows = [orjson.loads(value) for value in done.values]
    pairs = [
        (o["user"], o["order"], o["ts"], p["payment"], p["amount"], p["ts"])
        for o in rows[::2]
        for p in rows[1::2]
        if o["user"] == p["user"] and 0 <= p["ts"] - o["ts"] <= 600_000
    ]
    assert done.answer.rows() == sorted(pairs)
    assert done.least(300) == sum(max(pair[1], pair[3]) < 300 for pair in pairs)
    out = [orjson.dumps(dict(zip(PAIR, pair, strict=True))) for pair in pairs]
    assert not difference(done.answer, answer(5, reversed(out)))
    assert difference(done.answer, answer(5, out[1:]))
    assert difference(done.answer, answer(5, [*out, out[0]]))


def test_every_stage_has_a_program_of_ours():
    assert all(CONTENDERS["processor"].does(stage) for stage in TOPOLOGIES)
    assert not CONTENDERS["plain"].does(5)
