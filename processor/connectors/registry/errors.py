"""What Confluent's client raises, as errors that say what their receiver must do.

::

    no answer, 408, 429, 5xx, or an answer of something else     away: ask again
    404 with the registry's own code                             not there
    401, 403                                                     refused: the run stops
    409, 422                                                     refused: the schema does not fit

A 404 without the registry's code is of a proxy, or of a server that is no registry. It says nothing
of a schema, and so makes no record a bad one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from processor.errors import ProcessorError, RegistryAwayError, RegistryError

# Of a subject, a version and a schema; the client's own one in memory knows the first alone.
_NOT_THERE: Final = frozenset({40400, 40401, 40402, 40403})
_SEE: Final = "see that the schema registry runs and can be reached from here"


class NotThereError(Exception):
    """The registry has no such subject, version or schema."""


@contextmanager
def told(name: str) -> Iterator[None]:
    """Turn what a call raises into one of ours; ``name`` is what the registry is called."""
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    try:
        yield
    except (ProcessorError, NotThereError):
        raise
    except SchemaRegistryError as error:
        raise _answered(name, error) from error
    # The client raises whatever its HTTP library does, and KeyError and the like for an answer
    # that is no registry's.
    except Exception as error:
        if (remedy := _never(error)) is not None:
            raise RegistryError(f"{name}: {_line(error)}", remedy=remedy) from error
        raise RegistryAwayError(f"{name} does not answer: {_line(error)}", remedy=_SEE) from error


def _never(error: Exception) -> str | None:
    """What to mend where to ask again would never help; ``None``: it may."""
    text = str(error)
    if isinstance(error, ValueError) and "onfigur" in text:
        return (
            "correct --schema-registry and --schema-registry-url: what they say does not agree, or "
            "is not all that is needed"
        )
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return (
            "see that the files which --schema-registry names (ssl.ca.location and the like) exist"
        )
    found = next((said for said in _MISTAKES if said in text), None)
    return found and _MISTAKES[found]


_MISTAKES: Final = {
    "WRONG_VERSION_NUMBER": "no TLS is spoken there: say http:// in --schema-registry-url, or the "
    "port that is for https",
    "CERTIFICATE_VERIFY_FAILED": "give the authority that has signed its certificate: "
    "--schema-registry ssl.ca.location=FILE",
}


def _answered(name: str, error: Any) -> Exception:
    status, code = error.http_status_code, error.error_code
    what = f"{error.error_message or 'no reason'} (status {status}, code {code})"
    if status == 404 and code in _NOT_THERE:
        return NotThereError(what)
    if status in (401, 403):
        return RegistryError(
            f"{name} refuses: {what}",
            remedy="give credentials that may do it: --schema-registry "
            "basic.auth.user.info=user:password, best as PROCESSOR_SCHEMA_REGISTRY__"
            "BASIC_AUTH_USER_INFO",
        )
    if status in (400, 405, 409, 422):
        return RegistryError(f"{name} refuses: {what}", remedy="see what the subject's rules allow")
    # A server without that path answers so, and so does a proxy while the registry starts.
    see = f"{_SEE}, and that the path in its address is the registry's" if status == 404 else _SEE
    return RegistryAwayError(f"{name} does not answer as it should: {what}", remedy=see)


def _line(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
