"""`Topology`: what a user writes, and the parameters that a deployment may change."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from processor.api import arguments, ways
from processor.api.location import caller
from processor.api.reader import Reader
from processor.api.running import Runnable
from processor.errors import TopologyError
from processor.feeds.base import Feed
from processor.plan import faults, nodes, stages
from processor.plan.stages import Stage
from processor.plan.validate import validate

_TYPES: Mapping[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float, "Path": Path}
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

_MEANT = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text",
          "Path": "a path"}  # fmt: skip
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Topology(Runnable):
    """One application: it reads a topic, transforms, and writes topics.

    Args:
        app: the application id. The consumer group, the transactional ids and the keys in Redis
            derive from it: letters, digits, ``.``, ``_`` and ``-``.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    """

    def __init__(self, app: str) -> None:
        self._at = caller()
        arguments.text(app, "the application id", self._at, 'give a name: Topology("rides")')
        if not app or not set(app) <= _NAME:
            raise TopologyError(
                f"{self._at}: application id {app!r} cannot be used",
                remedy="use letters, digits, '.', '_' and '-'",
            )
        self._app = app
        self._sinks: list[nodes.Sink] = []
        self._feeds: dict[str, nodes.Location] = {}

    @property
    def read(self) -> Reader:
        """Where records come from."""
        return Reader(self)

    def stages(self) -> tuple[Stage, ...]:
        """The validated stages, each behind those that it reads from.

        Raises `TopologyError` with the line that is wrong; where there are several, with each of
        them. What only follows from another fault is not told.

        >>> from processor import Text
        >>> topology = Topology("copy")
        >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
        >>> [sink.topic for stage in topology.stages() for sink in stage.plan.sinks]
        ['to']
        """
        plan = nodes.Plan(self._app, tuple(self._sinks), self._at)
        try:
            return _checked(plan)
        except TopologyError as error:
            raise faults.every(plan, error, _checked) from error.__cause__

    def plan(self) -> nodes.Plan:
        """The plan of a topology that is one stage; raises `TopologyError` for one of several."""
        found = self.stages()
        if len(found) > 1:
            raise TopologyError(f"{self._at}: {self._app} has {len(found)} stages, no single plan")
        return found[0].plan

    @staticmethod
    def define(build: Callable[..., Topology]) -> Definition:
        """Make a function with keyword parameters a topology that ``processor run`` can start.

        Every parameter has a type (str, int, float, bool or Path) and a default; ``--set
        name=value`` and the environment change it.
        """
        return Definition(build)

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            raise ways.missing("a topology", name, ways.TOPOLOGY, ways.public(Topology))

    def _feed(self, feed: Feed, at: nodes.Location) -> None:
        if feed.name in self._feeds:
            raise TopologyError(
                f"{at}: a feed is called {feed.name!r} already, at {self._feeds[feed.name]}",
                remedy='give this one a name of its own: name="..."; or use the frame of that one '
                "twice",
            )
        self._feeds[feed.name] = at

    def _append(self, sink: nodes.Sink) -> None:
        self._sinks.append(sink)


class Definition(Runnable):
    """A topology with parameters.

    >>> from processor import Text
    >>> @Topology.define
    ... def copy(*, app: str = "copy", source: str = "from") -> Topology:
    ...     topology = Topology(app)
    ...     topology.read.kafka(source, format=Text()).write.kafka("to", format=Text())
    ...     return topology
    >>> copy.build({"source": "elsewhere"}).plan().source().topic
    'elsewhere'
    """

    def __init__(self, function: Callable[..., Topology]) -> None:
        self._function = function
        self.name = function.__name__
        self.parameters = inspect.signature(function).parameters
        for parameter in self.parameters.values():
            bare = (
                parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY
            )
            if bare or _kind(parameter) not in {*_TYPES, "bool"}:
                raise TopologyError(
                    f"{self._where()}: parameter {parameter.name!r} needs a default and a type",
                    remedy=f'write it as in {parameter.name}: str = "..."; the type is one of '
                    f"{', '.join((*_TYPES, 'bool'))}",
                )

    def build(self, values: Mapping[str, str] | None = None) -> Topology:
        """The topology with these parameters, given as text; raises `TopologyError`."""
        values = values or {}
        unknown = sorted(set(values) - set(self.parameters))
        if unknown:
            raise TopologyError(
                f"{self._where()}: {self.name} has no parameter {unknown[0]!r}",
                remedy=f"its parameters are: {', '.join(self.parameters)}",
            )
        made: object = self._function(**{n: self._convert(n, text) for n, text in values.items()})
        if not isinstance(made, Topology):
            what = "nothing" if made is None else f"a {type(made).__name__}, no Topology"
            raise TopologyError(
                f"{self._where()}: {self.name} returns {what}", remedy="end it in: return topology"
            )
        return made

    def describe(self) -> dict[str, tuple[str, str]]:
        """Type and default of each parameter."""
        return {name: (_kind(p), str(p.default)) for name, p in self.parameters.items()}

    def _convert(self, name: str, text: str) -> Any:
        kind = _kind(self.parameters[name])
        try:
            return _BOOLEANS[text.lower()] if kind == "bool" else _TYPES[kind](text)
        except (ValueError, KeyError) as error:
            raise TopologyError(
                f"{self._where()}: {name}={text!r} is no {kind}",
                remedy=f"give {name} {_MEANT[kind]}",
            ) from error

    def _where(self) -> str:
        code = self._function.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"


def _checked(plan: nodes.Plan) -> tuple[Stage, ...]:
    """Its stages; raises `TopologyError` for the first thing that is wrong."""
    found = stages.cut(plan)
    for stage in found:
        validate(stage.plan)
    return found


def _kind(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
