"""The commands. Each is a thin skin over `processor.app`; what is slow to import, each imports."""

from __future__ import annotations

import errno
import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from processor import telling
from processor.errors import ProcessorError


class _Group(click.Group):
    """Tells every error in words: one that a user can mend has exit code 2 and no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProcessorError as error:
            telling.error(error)
            ctx.exit(2)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT002 - as click has it
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        given = list(sys.argv[1:] if args is None else args)
        telling.use_json(wanted=_json_asked(given))
        try:
            code = super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            telling.usage(error)
            code = error.exit_code
        except click.Abort:
            code = 1
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of the column engine is no Exception
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                code = 1  # who read our lines has gone
            else:
                telling.bug(error)
                code = 1
        sys.exit(code if isinstance(code, int) else 0)


def _json_asked(given: Sequence[str]) -> bool:
    """Whether lines are to be JSON, as far as can be seen before the settings are read."""
    pairs = itertools.pairwise([*given, ""])
    asked = [b for a, b in pairs if a == "--log-format"]
    asked += [a.partition("=")[2] for a in given if a.startswith("--log-format=")]
    return (asked or [os.environ.get("PROCESSOR_LOG_FORMAT", "")])[-1] == "json"


@click.group(cls=_Group)
@click.version_option(package_name="processor")
def cli() -> None:
    """Micro-batches from Kafka through Redis to Kafka, exactly once."""


def _pairs(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            # What stands there may be a password behind another sign.
            shown = re.split(r"[^\w.-]", name, maxsplit=1)[0]
            raise click.BadParameter(f"give name=value, not {shown!r}", ctx=ctx, param=parameter)
        pairs[name.strip()] = text
    return pairs or None


def _settings(function: Any) -> Any:
    """The options that every running command has."""
    for option in (
        click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML)."),
        click.option("--bootstrap-servers", metavar="H:P", help="Kafka; embedded if left out."),
        click.option("--redis-url", metavar="URL", help="Redis; embedded if left out."),
        click.option("--log-format", type=click.Choice(["auto", "json", "text"])),
        click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"])),
        click.option("--kafka", multiple=True, callback=_pairs, metavar="NAME=VALUE",
                     help="Any librdkafka setting."),
    ):  # fmt: skip
        function = option(function)
    return function


@cli.command()
@click.argument("topologies", nargs=-1, required=True, metavar="TOPOLOGY...")
@_settings
@click.option("--interval", metavar="TIME", help="Least time between two batches: 500ms.")
@click.option("--guarantee", type=click.Choice(["exactly-once", "at-least-once"]))
@click.option("--workers", type=int, help="Processes of the consumer group.")
@click.option("--until-caught-up", is_flag=True, default=None,
              help="Process what is there now, then exit.")  # fmt: skip
@click.option("--create-topics", metavar="N", help="Create missing topics with N partitions.")
@click.option("--set", "set_", multiple=True, callback=_pairs, metavar="NAME=VALUE",
              help="A parameter of the topology.")  # fmt: skip
@click.option("--feed", multiple=True, callback=_pairs, metavar="TOPIC=FILE",
              help="Records to put into the embedded log, by the topic's key.")  # fmt: skip
@click.option("--from", "from_", type=click.Choice(["earliest", "latest"]),
              help="Where a new group begins.")  # fmt: skip
@click.option("--on-checkpoint-loss", type=click.Choice(["stop", "replay", "changelog"]),
              help="When Redis has lost state: stop, or where it is had from.")  # fmt: skip
@click.option("--allow-dropped-state", is_flag=True, default=None,
              help="Let go of state that a changed topology has no operator for.")  # fmt: skip
@click.option("--on-partitions-raised", type=click.Choice(["stop", "rebuild"]),
              help="When the input was given more partitions.")  # fmt: skip
@click.option("--metrics-port", type=int, help="First port of /metrics, /livez, /readyz.")
@click.option("--metrics-host", metavar="HOST", help="127.0.0.1 if left out.")
@click.option("--batch-records-max", type=int, metavar="N")
@click.option("--batch-bytes-max", type=int, metavar="N")
@click.option("--instance", metavar="NAME", help="Identity over restarts; the host's name.")
@click.option("--session-timeout", metavar="TIME")
@click.option("--transaction-timeout", metavar="TIME")
@click.option("--give-up-after", metavar="TIME",
              help="How long Kafka or Redis may be away: 15 minutes.")  # fmt: skip
@click.option("--shutdown-timeout", metavar="TIME")
def run(
    topologies: tuple[str, ...],
    config: Path | None,
    set_: dict[str, str] | None,
    feed: dict[str, str] | None,
    **options: Any,
) -> None:
    """Run topologies, as in topologies.uber.enrich, until stopped.

    Every option can also be given as PROCESSOR_… in the environment and in processor.toml.
    """
    from processor import settings
    from processor.cli import logs
    from processor.cli import run as command

    loaded = settings.load(config, set=set_, **options)
    logs.configure(loaded.log_format, loaded.log_level)
    command.run(topologies, loaded, feed or {})


@cli.command()
@click.argument("topology")
@click.option("--set", "set_", multiple=True, callback=_pairs, metavar="NAME=VALUE")
def describe(topology: str, set_: dict[str, str] | None) -> None:
    """Check a topology and print its plan."""
    from processor.app import load_topology
    from processor.plan.describe import describe as text

    click.echo(text(load_topology(topology, set_ or {})))


@cli.command()
@click.argument("topology")
@_settings
@click.option("--set", "set_", multiple=True, callback=_pairs, metavar="NAME=VALUE",
              help="A parameter of the topology.")  # fmt: skip
@click.option("--from", "from_", metavar="OFFSET|TIME", help="The input's beginning if left out.")
@click.option("--to", metavar="OFFSET|TIME", help="What the group has committed if left out.")
@click.option("--json", "as_json", is_flag=True, help="All findings, as one JSON object.")
def verify(  # noqa: PLR0917 - an argument per option
    topology: str,
    config: Path | None,
    set_: dict[str, str] | None,
    from_: str | None,
    to: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Recompute a range of the input, and compare with the committed outputs; reads only.

    Exit code 0: all is right; 3: outputs are missing, duplicate or wrong.
    """
    from processor import settings
    from processor.cli import verify as command

    loaded = settings.load(config, set=set_, **options)
    click.get_current_context().exit(command.verify(topology, loaded, from_, to, as_json=as_json))


@cli.command()
@click.argument("topology")
@_settings
@click.option("--set", "set_", multiple=True, callback=_pairs, metavar="NAME=VALUE",
              help="A parameter of the topology.")  # fmt: skip
@click.option("--delays", metavar="TIME,...", help="Delays to try: 10m,1h,2d.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def late(
    topology: str,
    config: Path | None,
    set_: dict[str, str] | None,
    delays: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show which records would be late by the watermark's delay; reads only."""
    from processor import settings
    from processor.cli import late as command

    loaded = settings.load(config, set=set_, **options)
    command.late(topology, loaded, delays, as_json=as_json)


@cli.command()
@click.argument("topology")
@_settings
@click.option("--set", "set_", multiple=True, callback=_pairs, metavar="NAME=VALUE",
              help="A parameter of the topology.")  # fmt: skip
@click.option("--to", default="earliest", show_default=True, metavar="earliest|latest|OFFSET")
@click.option("--yes", "sure", is_flag=True, help="Do it; else only tell what would be done.")
def reset(
    topology: str,
    config: Path | None,
    set_: dict[str, str] | None,
    to: str,
    sure: bool,
    **options: Any,
) -> None:
    """Begin again elsewhere in the input, with empty state; the group must be stopped."""
    from processor import settings
    from processor.cli import reset as command

    loaded = settings.load(config, set=set_, **options)
    command.reset(topology, loaded, to, sure=sure)


@cli.command()
@click.option("--input", "source", type=click.Path(path_type=Path), metavar="FILE.csv",
              help="Trips; made up if left out.")  # fmt: skip
@click.option("--records", type=click.IntRange(min=0), default=20_000, show_default=True,
              help="How many trips to make up.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--centroids", type=click.Path(path_type=Path), metavar="FILE.json")
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/demo"),
              show_default=True, metavar="DIR")  # fmt: skip
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="Records a second; as fast as it goes if left out.")  # fmt: skip
@_settings
def demo(config: Path | None, **options: Any) -> None:
    """Trips to popular clusters, both stages live, with nothing to install or start before."""
    from processor import settings
    from processor.cli import demo as command
    from processor.cli import logs

    own = ("source", "records", "seed", "centroids", "output", "rate")
    wanted = command.Wanted(**{name: options.pop(name) for name in own})
    loaded = settings.load(config, **options)
    quiet = loaded.log_level if "log_level" in loaded.model_fields_set else "warning"
    logs.configure(loaded.log_format, quiet)
    command.demo(wanted, loaded)
