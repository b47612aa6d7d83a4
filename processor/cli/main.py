"""The commands. Each is a thin skin over `processor.app`; what is slow to import, each imports."""

from __future__ import annotations

import errno
import itertools
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from processor import telling
from processor.cli import options
from processor.errors import ProcessorError

if TYPE_CHECKING:
    from processor.cli.logs import LogLevel
    from processor.engine.offline.redrive import Stamp
    from processor.settings import Settings


_ASKS: Final = re.compile(r"""^\s*"?log[-_]format"?\s*=\s*["']json["']""", re.MULTILINE)


class _Group(click.Group):
    """Tells every error in words: one that a user can mend has exit code 2 and no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProcessorError as error:
            telling.error(error)
            ctx.exit(2)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise options.meant_command(error, args[0]) from None

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
            telling.usage(options.meant(error))
            code = error.exit_code
        except click.Abort:  # ^C before there was work to finish
            code = 128 + signal.SIGINT
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
    asked = _last(given, "--log-format") or os.environ.get("PROCESSOR_LOG_FORMAT")
    return asked == "json" if asked else _file_asks(given)


def _last(given: Sequence[str], option: str) -> str | None:
    """What a command line gives for an option, the last time that it does."""
    found = None
    for word, after in itertools.pairwise([*given, ""]):
        if word == option:
            found = after
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def _file_asks(given: Sequence[str]) -> bool:
    """Whether the settings file asks for JSON: it may be no TOML, which is then told as JSON."""
    named = _last(given, "--config") or os.environ.get("PROCESSOR_CONFIG") or "processor.toml"
    try:
        text = Path(named).expanduser().read_text(encoding="utf-8", errors="replace")
    except (OSError, RuntimeError, ValueError):  # told when the settings are read
        return False
    return _ASKS.search(text) is not None


def _loaded(config: Path | None, level: LogLevel, **given: Any) -> Settings:
    """The settings, and the log as they want it: where they say no level, from this one on."""
    from processor import settings
    from processor.cli import logs

    loaded = settings.load(config, **given)
    said = "log_level" in loaded.model_fields_set
    logs.configure(loaded.log_format, loaded.log_level if said else level)
    return loaded


@click.group(cls=_Group)
@click.version_option(package_name="processor")
def cli() -> None:
    """Micro-batches from Kafka through Redis to Kafka, exactly once."""


@cli.command()
@click.argument("topologies", nargs=-1, required=True, metavar="TOPOLOGY...")
@options.taking(*options.CONNECTIONS, *options.RUNNING)
def run(
    topologies: tuple[str, ...],
    config: Path | None,
    set_: dict[str, str] | None,
    feed: dict[str, str] | None,
    show: bool,
    **given: Any,
) -> None:
    """Run topologies until stopped: modules, as in my_package.rides, or files, as in ./rides.py.

    Every option but --feed and --print can also be given as PROCESSOR_… in the environment and in
    processor.toml; docs/settings.md has them all.
    """
    from processor.cli import run as command

    loaded = _loaded(config, "info", set=set_, **given)
    command.run(topologies, loaded, feed or {}, show=show)


@cli.command()
@click.argument("topologies", nargs=-1, required=True, metavar="TOPOLOGY...")
@options.taking(*options.CONNECTIONS, options.SET)
@click.option(
    "--as", "form", type=click.Choice(["text", "mermaid", "json"]), default="text",
    help="Text with all steps; stages and topics as a Mermaid flow chart, or as JSON.",
)  # fmt: skip
def describe(
    topologies: tuple[str, ...],
    config: Path | None,
    set_: dict[str, str] | None,
    form: Literal["text", "mermaid", "json"],
    **given: Any,
) -> None:
    """Check topologies and print their plans, as `run` with the same settings would run them."""
    from processor.cli import describe as command

    loaded = _loaded(config, "warning", set=set_, **given)
    click.echo(command.describe(topologies, loaded, form))


@cli.command()
@click.argument("topologies", nargs=-1, required=True, metavar="TOPOLOGY...")
@options.taking(*options.CONNECTIONS, options.SET)
def validate(
    topologies: tuple[str, ...], config: Path | None, set_: dict[str, str] | None, **given: Any
) -> None:
    """Check topologies, and compare them with what the schema registry has; changes nothing.

    Exit code 0: a run can read and write its topics' schemas; 2: it cannot, or a plan is wrong.
    """
    from processor.cli import validate as command

    loaded = _loaded(config, "warning", set=set_, **given)
    click.get_current_context().exit(command.validate(topologies, loaded))


@cli.command()
@click.argument("topology")
@options.taking(*options.CONNECTIONS, options.SET)
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
    **given: Any,
) -> None:
    """Recompute a range of the input, and compare with the committed outputs; reads only.

    A TIME is ISO, in UTC where it names no zone: of each partition the first record with that
    timestamp or a later one.

    Exit code 0: all that could be compared is right, and notes say what could not; 3: outputs are
    missing, duplicate or wrong.
    """
    from processor.cli import verify as command

    loaded = _loaded(config, "warning", set=set_, **given)
    click.get_current_context().exit(command.verify(topology, loaded, from_, to, as_json=as_json))


@cli.command()
@click.argument("topology")
@options.taking(*options.CONNECTIONS, options.SET)
@click.option("--delays", metavar="TIME,...", help="Delays to try: 10m,1h,2d.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def late(
    topology: str,
    config: Path | None,
    set_: dict[str, str] | None,
    delays: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Show which records would be late by the watermark's delay; reads only."""
    from processor.cli import late as command

    loaded = _loaded(config, "warning", set=set_, **given)
    command.late(topology, loaded, delays, as_json=as_json)


@cli.command()
@click.argument("topic")
@options.taking(*options.CONNECTIONS)
@click.option("--records", type=click.IntRange(1, 100_000), default=1_000, show_default=True,
              metavar="N", help="How many of the last records to look at.")  # fmt: skip
def infer(topic: str, config: Path | None, records: int, **given: Any) -> None:
    """Print the code of a topology that reads a topic, found by looking at its records."""
    from processor.cli import infer as command

    command.infer(topic, _loaded(config, "warning", **given), records)


@cli.command()
@click.argument("topology")
@options.taking(*options.CONNECTIONS, options.SET)
@click.option(
    "--to",
    metavar="earliest|latest|OFFSET|TIME",
    show_default="earliest",
    help="Where to begin; TIME: at the first record with that timestamp or a later one.",
)
@click.option(
    "--partitions",
    metavar="N,...",
    show_default="all",
    help="Those to reset; the others stay as they are.",
)
@click.option(
    "--watermark",
    metavar="TIME",
    help="Keep offsets and state, and set back watermarks that are ahead of it.",
)
@click.option("--yes", "sure", is_flag=True, help="Do it; else only tell what would be done.")
def reset(  # noqa: PLR0917 - an argument per option
    topology: str,
    config: Path | None,
    set_: dict[str, str] | None,
    to: str | None,
    partitions: str | None,
    watermark: str | None,
    sure: bool,
    **given: Any,
) -> None:
    """Begin again elsewhere in the input, with empty state; the group must be stopped.

    A TIME is ISO, in UTC where it names no zone: 2026-08-01T12:00:00. With --watermark nothing
    begins again: records that come are late no more because of one clock that was ahead.
    """
    from processor.cli import reset as command

    loaded = _loaded(config, "warning", set=set_, **given)
    command.reset(topology, loaded, to, partitions, watermark, sure=sure)


@cli.group()
def dlq() -> None:
    """Dead letters: which there are, what they hold, and sending them to the input again.

    NAME is a topology, or a topic of dead letters.
    """


_LETTERS: Final = (
    *options.CONNECTIONS,
    options.SET,
    click.option("--topic", "is_topic", is_flag=True,
                 help="NAME is a topic, though there is a module of that name."),
    click.option("--error", metavar="TEXT", default="", help="Those whose error has this text."),
    click.option("--step", metavar="TEXT", default="",
                 help="Those of steps whose name, as ls shows it, has this text."),
    click.option("--partition", "--partitions", "partitions", metavar="N,...", show_default="all",
                 help="Those of records of these partitions of the input."),
    click.option("--from", "from_", metavar="TIME", help="Those that were written then or later."),
    click.option("--to", metavar="TIME", help="Those that were written before."),
    click.option("--json", "as_json", is_flag=True, help="As JSON."),
)  # fmt: skip
_FILTERS: Final = ("is_topic", "error", "step", "partitions", "from_", "to", "as_json")


def _asked(
    config: Path | None, set_: dict[str, str] | None, given: dict[str, Any]
) -> tuple[Settings, dict[str, Any]]:
    """The settings, and what else was given to a command of dead letters."""
    filters = {name: given.pop(name) for name in _FILTERS}
    return _loaded(config, "warning", set=set_, **given), filters


@dlq.command("ls")
@click.argument("name")
@options.taking(*_LETTERS)
def dlq_ls(name: str, config: Path | None, set_: dict[str, str] | None, **given: Any) -> None:
    """Show how many dead letters there are, by step, error and topic; reads only.

    A TIME is ISO, in UTC where it names no zone: 2026-08-01T12:00:00.
    """
    from processor.cli import dlq as command

    settings, filters = _asked(config, set_, given)
    command.ls(name, settings, **filters)


@dlq.command("show")
@click.argument("name")
@options.taking(*_LETTERS)
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, metavar="N",
              help="How many, from the first on.")  # fmt: skip
def dlq_show(
    name: str, config: Path | None, set_: dict[str, str] | None, limit: int, **given: Any
) -> None:
    """Show single dead letters, with what the record was and why it is here; reads only."""
    from processor.cli import dlq as command

    settings, filters = _asked(config, set_, given)
    command.show(name, settings, limit, **filters)


@dlq.command("redrive")
@click.argument("name")
@options.taking(*_LETTERS)
@click.option("--attempts", type=click.IntRange(min=1), default=3, show_default=True, metavar="N",
              help="A record that was sent so often stays.")  # fmt: skip
@click.option("--timestamps", type=click.Choice(("original", "now")), default="original",
              show_default=True, help="The timestamps of what is sent.")  # fmt: skip
@click.option("--app", metavar="APP", help="Of a topic: the application whose letters are meant.")
@click.option("--input", "to_topic", metavar="TOPIC", help="Of a topic: the input to send to.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent.")
def dlq_redrive(  # noqa: PLR0917 - an argument per option
    name: str,
    config: Path | None,
    set_: dict[str, str] | None,
    attempts: int,
    timestamps: Stamp,
    app: str | None,
    to_topic: str | None,
    dry_run: bool,
    **given: Any,
) -> None:
    """Send dead letters to the topology's input again, each once, whoever is killed meanwhile."""
    from processor.cli import redrive as command

    settings, filters = _asked(config, set_, given)
    command.redrive(
        name, settings, attempts, timestamps, (app, to_topic), dry_run=dry_run, **filters
    )


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
@options.taking(*options.CONNECTIONS)
def demo(config: Path | None, **given: Any) -> None:
    """Trips to popular clusters, both stages live, with nothing to install or start before."""
    from processor.cli import demo as command

    own = ("source", "records", "seed", "centroids", "output", "rate")
    wanted = command.Wanted(**{name: given.pop(name) for name in own})
    command.demo(wanted, _loaded(config, "warning", **given))
