"""Runs tests against faults: ``python -m tests.mutation.worker PATH…``, one order a line.

The tests are collected once. For each fault the process forks; the child exchanges the code of the
one function and runs the tests that come to it, the fastest first. So a fault costs what its tests
take, not the import of all libraries. No test runs in the parent, so it has no threads whose work
a child would miss.

Orders are JSON on standard input, answers JSON on standard output::

    {"reach": true}  → {"tests": {test: [seconds, [function, …]]}}
    {"module": …, "function": …, "code": …, "tests": [test, …], "cpu_s": …, "wall_s": …}
        → {"outcome": "killed" | "hung" | "survived", "by": test, "ill": false}
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LONG_S = 3600.0


class Server:
    """A plugin whose loop serves orders instead of running all tests."""

    def __init__(self, orders: Any, answers: Any) -> None:
        self.orders, self.answers = orders, answers

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for item in session.items:
            if hasattr(item.module, "SEEDS"):  # fewer scripts of the simulator for each mutant
                item.module.SEEDS = int(os.environ["MUTATION_SEEDS"])
        assert not busy(), f"a process with these threads must not fork: {busy()}"
        for line in self.orders:
            order = json.loads(line)
            if order.get("reach"):
                answer = self.forked(lambda tell: tell({"tests": reach(items)}), LONG_S)
            else:
                tests = [items[name] for name in order["tests"] if name in items]
                answer = self.forked(
                    lambda tell: tried(order, tests, tell),  # noqa: B023
                    order["wall_s"],
                )
                answer["ill"] = self.ill(items.get(answer["by"]), order)
            self.answers.write(json.dumps(answer) + "\n")
            self.answers.flush()
        return True

    def ill(self, item: pytest.Item | None, order: dict[str, Any]) -> bool:
        """Whether a test on a server fails without the fault too: an earlier one has hurt it."""
        if item is None or not served(item):
            return False
        limits = {"cpu_s": order["cpu_s"]}
        again = self.forked(lambda tell: tried(limits, [item], tell), order["wall_s"])
        return bool(again["outcome"] != "survived")

    def forked(self, do: Any, wall_s: float) -> dict[str, Any]:
        """What the child told last; ``hung`` when it took too long, ``killed`` when it died.

        It has to tell more within ``wall_s`` of the clock, again and again.
        """
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            os.setsid()
            with os.fdopen(write, "w") as pipe:

                def tell(answer: dict[str, Any]) -> None:
                    pipe.write(json.dumps(answer) + "\n")
                    pipe.flush()

                try:
                    do(tell)
                except BaseException as error:  # the fault broke the test run itself
                    tell({"outcome": "killed", "by": repr(error)[:200]})
            os._exit(0)
        os.close(write)
        text, hung = b"", False
        while True:
            if not select.select([read], [], [], wall_s)[0]:
                hung = True
                break
            piece = os.read(read, 1 << 20)
            if not piece:
                break
            text += piece
        os.close(read)
        # Also what its tests have started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        lines = text.decode().splitlines()
        last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        if hung or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
            return {"outcome": "hung", "by": last.get("running", "")}
        if "running" in last or not last:
            return {"outcome": "killed", "by": f"the process ended in {last.get('running', '')}"}
        return last


def busy() -> list[str]:
    """Threads that a child would miss. Those that the column engine starts when it is imported,
    its allocator's and its cleaner's, it does without."""
    idle = ("python", "pytest", "jemalloc_bg_thd", "polars-ooc-clea")
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    found = [name for name in names if name not in idle]
    return found + ["python"] * (threading.active_count() - 1)


def tried(order: dict[str, Any], tests: list[pytest.Item], tell: Any) -> None:
    """Exchange the code, and run the tests up to the first that fails."""
    if "code" in order:
        plant(order["module"], order["function"], order["code"])
    wrong: list[str] = []
    for number, item in enumerate(tests):
        tell({"running": item.nodeid})
        # Each has a limit of its own: who turns round and round costs one test's time, not all.
        used_s = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        limit_s = int(used_s + order["cpu_s"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.RLIM_INFINITY))
        run(item, tests[number + 1] if number + 1 < len(tests) else None, wrong)
        if wrong:
            tell({"outcome": "killed", "by": item.nodeid, "why": wrong[0][-1500:]})
            return
    tell({"outcome": "survived", "by": ""})


def served(item: pytest.Item) -> bool:
    """Whether it talks with a server, which outlives the fault."""
    return any(item.get_closest_marker(name) for name in ("kafka", "redis"))


def run(item: pytest.Item, following: pytest.Item | None, wrong: list[str]) -> None:
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    from _pytest.runner import runtestprotocol

    reports = runtestprotocol(item, nextitem=following, log=False)
    wrong += [str(report.longrepr) for report in reports if report.failed]


def plant(module: str, function: str, code: str) -> None:
    """Give the function of a loaded module the code that it has in another text of the module."""
    loaded = importlib.import_module(module.removesuffix(".py").replace("/", "."))
    old = function_of(loaded, function)
    for new in every_code(compile(code, str(ROOT / module), "exec")):
        same = new.co_name == old.__code__.co_name and new.co_qualname == old.__code__.co_qualname
        if same and new.co_firstlineno == old.__code__.co_firstlineno:
            old.__code__ = new
            return
    raise LookupError(f"{module}: {function} is not in the new text")


def function_of(module: types.ModuleType, name: str) -> types.FunctionType:
    found: Any = module
    for part in name.rstrip("'").split("."):
        found = vars(found)[part]
    if isinstance(found, property):
        found = found.fset if name.endswith("'") else found.fget
    while not isinstance(found, types.FunctionType):
        found = found.__wrapped__ if hasattr(found, "__wrapped__") else found.__func__
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    return found


def every_code(code: types.CodeType) -> list[types.CodeType]:
    found = [code]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += every_code(constant)
    return found


def reach(items: dict[str, pytest.Item]) -> dict[str, Any]:
    """Which functions of the product each test comes to, and how many seconds it takes."""
    base = str(ROOT / "processor") + "/"
    found: dict[str, Any] = {}
    calls: set[Any] = set()

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            calls.add(frame.f_code)

    tests = list(items.values())
    for number, item in enumerate(tests):
        calls.clear()
        wrong: list[str] = []
        threading.setprofile(note)
        sys.setprofile(note)
        # Who waits for a server takes no processor, and the more of the clock.
        now = time.monotonic if served(item) else time.process_time
        started = now()
        run(item, tests[number + 1] if number + 1 < len(tests) else None, wrong)
        seconds = now() - started
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        ours = {c for c in calls if c.co_filename.startswith(base)}
        names = sorted(
            f"{c.co_filename.removeprefix(str(ROOT) + '/')}:{c.co_qualname.split('.<locals>')[0]}"
            for c in ours
        )
        if wrong:
            sys.stderr.write(f"{item.nodeid} fails without any fault: {wrong[0][-500:]}\n")
        else:
            found[item.nodeid] = [round(seconds, 3), sorted(set(names))]
    return found


def main() -> int:
    # Tests write where they like: the orders and answers keep their own descriptors.
    orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    options = ["-qq", "-p", "no:cacheprovider", "--capture=no", *sys.argv[1:]]
    return int(pytest.main(options, plugins=[Server(orders, answers)]))


if __name__ == "__main__":
    sys.exit(main())
