"""Whatever a user's module raises, told by the line of it: nobody looks for it in a traceback."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from polars.exceptions import PolarsError

import processor
from processor.app import habits
from processor.errors import ProcessorError, TopologyError
from processor.masking import conceal_address

_OURS: Final = str(Path(processor.__file__).parent)
_PATHS: Final = ("stdlib", "platstdlib", "purelib", "platlib")
_LIBRARIES: Final = tuple({sysconfig.get_paths()[name] for name in _PATHS})
_ADDRESS: Final = re.compile(r"\w+://[^\s'\"]+@[^\s'\"]*")
_AUTH: Final = re.compile(r"\bauth\s*=\s*\([^)]*\)")
_PLACED: Final = re.compile(r"\S.*:\d+: ")


@contextmanager
def told(name: str) -> Iterator[None]:
    """What the user's code raises inside becomes a `TopologyError` that has its last own line.

    ``name`` is what was loaded, for an error that has no line.

    >>> with told("rides"):
    ...     raise ValueError("no such window")
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: ValueError: no such window ...
    """
    try:
        yield
    except TopologyError as error:
        if _PLACED.match(error.message):
            raise
        found = place(error)
        where = f"{found[0]}: " if found else "" if name in error.message else f"{name}: "
        raise TopologyError(f"{where}{error.message}", remedy=error.remedy) from error
    except (ProcessorError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # also SystemExit, and a panic of the column engine
        raise _refusal(name, error) from error


def _refusal(name: str, error: BaseException) -> TopologyError:
    where, text = place(error) or (name, "")
    for address in _ADDRESS.findall(text):
        conceal_address(address)  # what is secret in it may stand beside it too
    text = _AUTH.sub("auth=***", text)
    what = type(error).__name__
    message = str(error.msg if isinstance(error, SyntaxError) else error).strip()
    # What Polars says at length is advice for its own users.
    message = message.partition("\n")[0] if isinstance(error, TypeError | PolarsError) else message
    said = f"{what}: {message}" if message else what
    line = f"\n    {text}" if text else ""
    return TopologyError(f"{where}: {said}{line}", remedy=_remedy(name, error))


def _remedy(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"see that {error.name} is spelt as it is and installed where the processor is, or "
            "lies beside the module that imports it"
        )
    if isinstance(error, SystemExit):
        return "a module of a topology defines it and ends; take the call out that leaves Python"
    if known := habits.remedy(error):
        return known
    module = name.partition(":")[0]
    whole = module if module.endswith(".py") else f'-c "import {module}"'
    return f"correct this line; `python {whole}` shows the way that leads to it"


def place(error: BaseException) -> tuple[str, str] | None:
    """``file:line`` and text of the last line of the user's own that an error came by, if any."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}", (error.text or "").strip()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _own(frame.filename):
            return f"{frame.filename}:{frame.lineno}", (frame.line or "").strip()
    return None


def _own(file: str) -> bool:
    return not file.startswith(("<", _OURS, *_LIBRARIES))
