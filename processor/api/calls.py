"""Functions of the user's that are given rows: whether they can be called, and their names."""

from __future__ import annotations

import functools
import inspect
import itertools
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from processor.api import arguments
from processor.errors import TopologyError
from processor.plan import nodes

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_EXAMPLE: Final = "def save(frame, epoch): ..., and write.foreach_batch(save)"


def of_batches(function: object, per: object, name: object, at: nodes.Location) -> nodes.Call:
    """A function of a frame and an epoch, and of a `Batch` where it takes one.

    >>> from processor.model.location import Location
    >>> of_batches(lambda frame, epoch: None, "task", None, Location("a.py", 1)).per
    'task'
    """
    if not callable(function) or isinstance(function, type):
        raise TopologyError(
            f"{at}: foreach_batch({arguments.shown(function)})",
            remedy=f"give a function: {_EXAMPLE}",
        )
    if per not in ("batch", "task"):
        raise TopologyError(
            f"{at}: per={per!r}",
            remedy='say per="batch", one call with all rows, or per="task", one for each partition',
        )
    _runs(function, at)
    count = _takes(function, 3)
    if count < 2:
        raise TopologyError(
            f"{at}: {_signed(function)} cannot be called with a frame and an epoch",
            remedy=_EXAMPLE,
        )
    return nodes.Call(_named(function, name, at), function, per, told=count > 2)


def of_rows(function: object, name: object, at: nodes.Location) -> nodes.Call:
    """A function of a row, or an object with ``process``, and perhaps ``open`` and ``close``.

    >>> from processor.model.location import Location
    >>> of_rows(print, None, Location("a.py", 1)).name
    'print'
    """
    process = getattr(function, "process", function)
    if isinstance(function, type) or not callable(process):
        raise TopologyError(
            f"{at}: foreach({arguments.shown(function)})",
            remedy="give a function of a row, or an object with process(row); open(partition, "
            "epoch) and close(error) are called where there are such",
        )
    for one in (process, *(getattr(function, name, None) for name in ("open", "close"))):
        _runs(one, at)
    if _takes(process, 1) < 1:
        raise TopologyError(
            f"{at}: {_signed(process)} cannot be called with a row",
            remedy="def save(row): ..., and write.foreach(save)",
        )
    return nodes.Call(_named(function, name, at), function, "task", each=True)


def free(call: nodes.Call, taken: Collection[str]) -> nodes.Call:
    """The call under its name, or that with a number behind it where another one has it."""
    numbered = (f"{call.name}-{number}" for number in itertools.count(2))
    names = itertools.chain([call.name], numbered)
    return replace(call, name=next(name for name in names if name not in taken))


def _takes(function: Any, most: int) -> int:
    """How many arguments by place a function can be given, up to ``most``."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # what is written in C does not always tell
        return min(most, 2)
    for count in range(most, 0, -1):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        # What is only collected was not asked for, and an option is none of ours.
        asked = [p for p in signature.parameters.values() if p.default is p.empty]
        if count > 2 and len([p for p in asked if p.kind is not p.VAR_POSITIONAL]) < count:
            continue
        return count
    return 0


def _runs(function: Any, at: nodes.Location) -> None:
    """Raise `TopologyError` for a function whose body a call only begins."""
    function = _plain(function)
    if inspect.isgeneratorfunction(function):
        raise TopologyError(
            f"{at}: {_called(function)} is a generator (it has yield), and its body would never be "
            "run",
            remedy="give a function that writes the rows by itself, without yield: what it returns "
            "is not looked at",
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TopologyError(
            f"{at}: {_called(function)} is async, and would only be begun",
            remedy="give a plain function; in it, asyncio.run(...) waits for one that is async",
        )


def _plain(function: Any) -> Any:
    """What is run where an object or a part of a function is called."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 - what it is, not whether


def _called(function: object) -> str:
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def _signed(function: Any) -> str:
    """A function with its parameters, as in ``save(frame)``."""
    try:
        return f"{_called(function)}{inspect.signature(function)}"[:200]
    except (TypeError, ValueError):
        return _called(function)


def _named(function: object, name: object, at: nodes.Location) -> str:
    if name is not None:
        text = arguments.text(name, "name", at, 'give a text: name="to-sql"')
        if not _NAME.fullmatch(text):
            raise TopologyError(
                f"{at}: name={text!r} cannot be used",
                remedy="use up to 100 letters, digits, '.', '_' and '-'",
            )
        return text
    called = _called(function)
    return called if _NAME.fullmatch(called) else "function"
