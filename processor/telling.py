"""Lines on standard error for who started a command: text, or JSON where that was asked for."""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime
from typing import Final

import click
import orjson

from processor import masking
from processor.errors import ProcessorError, TopologyError

BUG: Final = (
    "this is a fault of the processor, and none of yours: report it with these lines; nothing that "
    "was not committed counts, so that a new start goes on where the last commit was"
)
_USUAL: Final = {
    "settings": "correct the setting; `processor run --help` lists them all",
    "topology": "correct the line; docs/guide.md has how topologies are written",
    "log": "look the message up in the brokers' log; what is committed is right, start again then",
    "store": "look the message up in Redis' log; what is committed is right, start again then",
    "state": "see docs/guide.md, *When Redis loses data*; `processor reset` begins anew",
}
_ELSE: Final = "read the lines before this one, mend what they name, and start again"
_form = {"json": False}


def use_json(*, wanted: bool) -> None:
    """Whether every line is to be a JSON object from now on, as the lines of the log are."""
    _form["json"] = wanted


def line(text: str, **fields: object) -> None:
    """A line that says what is going on; as JSON it is an event of the log with these fields."""
    if _form["json"]:
        _object("info", event=text, **fields)
    else:
        click.echo(masking.masked(text), err=True)


def error(problem: ProcessorError) -> None:
    """What a person can mend: code, what happened, remedy; there is always one."""
    kind = problem.code.partition("_")[0]
    remedy = problem.remedy or _USUAL.get(kind, _ELSE)
    if _form["json"]:
        _object("error", event="error", code=problem.code, reason=problem.message, remedy=remedy)
    else:
        click.echo(f"error ({problem.code}): {problem.message}\n  remedy: {remedy}", err=True)
    for other in problem.others if isinstance(problem, TopologyError) else ():
        error(other)


def usage(problem: click.ClickException) -> None:
    """A command line that cannot be taken, as click says it."""
    vars(problem)["message"] = masking.masked(problem.message)
    if _form["json"]:
        _object("error", event="error", code="usage", reason=problem.format_message())
    else:
        problem.show()


def bug(problem: BaseException) -> None:
    """What nobody foresaw, with the way that led to it."""
    way = masking.masked("".join(traceback.format_exception(problem)))
    said = masking.masked(f"{type(problem).__name__}: {problem}")
    if _form["json"]:
        _object("error", event="error", code="bug", reason=said, remedy=BUG, traceback=way)
    else:
        click.echo(f"{way}error (bug): {said}\n  remedy: {BUG}", err=True)


def _object(level: str, **fields: object) -> None:
    shown = {k: masking.masked(v) if isinstance(v, str) else v for k, v in fields.items()}
    stamped = {**shown, "level": level, "timestamp": datetime.now(UTC).isoformat()}
    sys.stderr.write(orjson.dumps(stamped, default=str).decode() + "\n")
    sys.stderr.flush()
