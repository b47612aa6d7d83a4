"""The options of the commands, with what they mean and what holds without them.

Defaults stand here as words, since `processor.settings` is slow to load; a test holds them to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]


def pairs(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    """``name=value``, any number of them; ``None`` for none."""
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip() or "://" in name:
            # What stands there may be a password behind another sign.
            shown = re.split(r"[^\w.-]", name, maxsplit=1)[0]
            give = "give TOPIC=FILE" if parameter.name == "feed" else "give name=value"
            place = f"--{parameter.name.replace('_', '-')}-url" if "://" in value else ""
            said = f"an address is for {place}" if place in _words(ctx) else give
            raise click.BadParameter(f"{said}, not {shown!r}", ctx=ctx, param=parameter)
        if parameter.name == "feed" and name.strip() in found:
            said = f"{name.strip()} is fed by two files: put them into one, as cat does"
            raise click.BadParameter(said, ctx=ctx, param=parameter)
        found[name.strip()] = text
    return found or None


def _words(ctx: click.Context | None) -> set[str]:
    """The options of the command that is read."""
    return {word for p in ctx.command.params for word in p.opts} if ctx else set()


def _create(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A number, or nothing; a topology that follows would be taken for the number."""
    if value is None or value.isdigit() or value.lower() in _TRUTHS:
        return value
    raise click.BadParameter(
        f"{value!r} was taken for the number of partitions: give one, or --create-topics last",
        ctx=ctx,
        param=parameter,
    )


_TRUTHS: Final = ("true", "false", "yes", "no", "on", "off")


def _pairs(name: str, metavar: str, meaning: str, *more: str) -> Decorator:
    return click.option(name, *more, multiple=True, callback=pairs, metavar=metavar, help=meaning)


def _choice(name: str, choices: Sequence[str], default: str, meaning: str, *more: str) -> Decorator:
    kind = click.Choice(choices)
    return click.option(name, *more, type=kind, show_default=default, help=meaning)


def _value(
    name: str, metavar: str, default: str, meaning: str, kind: type[int] | None = None, *more: str
) -> Decorator:
    return click.option(name, *more, metavar=metavar, type=kind, show_default=default, help=meaning)


SET: Final = _pairs("--set", "NAME=VALUE", "A parameter of the topology.", "set_")
_FLAG: Final[dict[str, Any]] = {"is_flag": True, "default": None, "show_default": "off"}

CONNECTIONS: Final = (
    click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE",
        show_default="processor.toml, if it is there", help="Settings file (TOML).",
    ),
    _value("--bootstrap-servers", "HOST:PORT,...", "embedded", "Where Kafka is."),
    _value("--redis-url", "URL", "embedded", "Where Redis is: redis://host:6379/0."),
    _value("--schema-registry-url", "URL", "in memory, on the embedded log",
           "Where the schema registry is: https://host:8081."),
    _value("--data-dir", "DIR", "in memory",
           "Where the embedded log and the embedded Redis are kept on disk."),
    _choice("--log-format", ("auto", "json", "text"), "auto",
            "JSON or text; auto: text on a terminal."),
    _choice("--log-level", ("debug", "info", "warning", "error"), "info", "What is logged."),
    _pairs("--kafka", "NAME=VALUE", "Any setting of librdkafka that breaks no promise."),
    _pairs("--schema-registry", "NAME=VALUE", "A setting of the registry's client."),
)  # fmt: skip
RUNNING: Final = (
    _value("--interval", "TIME", "100ms", "Least time between two batches."),
    _choice("--guarantee", ("exactly-once", "at-least-once"), "exactly-once",
            "What holds for outputs."),
    _value("--workers", "N", "1", "Processes of the consumer group.", int),
    _value("--stages", "NAME,...", "all", "The stages to run here, as `describe` shows them."),
    click.option("--until-caught-up", help="Process what is there now, then exit.", **_FLAG),
    click.option(
        "--create-topics", metavar="[N]", is_flag=False, flag_value="true", callback=_create,
        show_default="off; 4 partitions without N, and on the embedded log",
        help="Create missing topics, with N partitions.",
    ),
    SET,
    _pairs("--feed", "TOPIC=FILE", "Records to put into the embedded log, by the topic's key."),
    click.option("--print", "show", is_flag=True,
                 help="Show what is published, on the embedded log: topic, key, value, headers."),
    _value("--from", "earliest|latest|TIME", "earliest",
           "Where a new group begins; TIME is 2026-08-01T12:00:00, in UTC unless it names a zone: "
           "the first record with that timestamp or a later one.", None, "from_"),
    _choice("--on-checkpoint-loss", ("stop", "replay", "changelog"), "stop",
            "When Redis has lost state: stop, or where it is had from."),
    click.option("--allow-dropped-state", **_FLAG,
                 help="Let go of state that a changed topology has no operator for."),
    _choice("--on-partitions-raised", ("stop", "rebuild"), "stop",
            "When the input was given more partitions."),
    _value("--metrics-port", "PORT", "none is served",
           "First port of /metrics, /livez, /readyz; 0 takes a free one.", int),
    _value("--metrics-host", "HOST", "127.0.0.1", "Where they are served."),
    _value("--batch-records-max", "N", "40000; 60000 with state",
           "Records of a batch; behind a stage a record is a block of rows.", int),
    _value("--batch-bytes-max", "N", "67108864", "Bytes of a batch.", int),
    _value("--instance", "NAME", "the host's name", "Identity of the workers over restarts."),
    _value("--session-timeout", "TIME", "10s", "After it a killed worker's partitions move."),
    _value("--transaction-timeout", "TIME", "10s", "What the steps of one commit may take."),
    _value("--give-up-after", "TIME", "15m", "How long Kafka or Redis may be away."),
    _value("--shutdown-timeout", "TIME", "30s",
           "What a worker may take to stop once it is told to; then its "
           "process ends with 2, and what was not committed is computed again."),
)  # fmt: skip


# As other systems and Kafka's own tools call them.
_ELSEWHERE: Final = {
    **dict.fromkeys(
        ("--bootstrap-server", "--broker", "--brokers", "--broker-list", "--broker-address",
         "--kafka-brokers"), "--bootstrap-servers"),
    **dict.fromkeys(("--once", "--available-now", "--trigger-once", "--exit-when-done", "--batch"),
                    "--until-caught-up"),
    **dict.fromkeys(("--trigger", "--processing-time", "--batch-interval", "--commit-interval",
                     "--batch-duration"), "--interval"),
    **dict.fromkeys(("--checkpoint", "--checkpoint-location", "--checkpoint-dir", "--state-store",
                     "--store", "--redis"), "--redis-url"),
    **dict.fromkeys(("--datadir", "--data", "--state-dir", "--directory", "--log-dir", "--log-dirs",
                     "--db"), "--data-dir"),
    **dict.fromkeys(("--parallelism", "--num-workers", "--concurrency", "--num-executors",
                     "--processes", "--threads", "--num-threads", "--master"), "--workers"),
    **dict.fromkeys(("--starting-offsets", "--from-beginning", "--offset", "--auto-offset-reset",
                     "--start", "--startingOffsets"), "--from"),
    **dict.fromkeys(("--group", "--group-id", "--consumer-group", "--app", "--app-id",
                     "--application-id", "--name", "--input", "--output", "--topic", "--param",
                     "--parameter"), "--set"),
    **dict.fromkeys(("--conf", "--property", "--command-config", "--consumer-property",
                     "--producer-property", "--extra-config"), "--kafka"),
    **dict.fromkeys(("--properties-file", "--config-file", "--settings"), "--config"),
    **dict.fromkeys(("--port", "--web-port", "--prometheus-port", "--http-port"), "--metrics-port"),
    **dict.fromkeys(("--loglevel", "--verbose", "--debug", "--quiet"), "--log-level"),
    **dict.fromkeys(("--max-offsets-per-trigger", "--max-records", "--batch-size",
                     "--max-poll-records"), "--batch-records-max"),
    **dict.fromkeys(("--registry", "--schema-registry-uri", "--registry-url"),
                    "--schema-registry-url"),
    **dict.fromkeys(("--fail-on-data-loss", "--failOnDataLoss"), "--on-checkpoint-loss"),
    **dict.fromkeys(("--processing-guarantee", "--semantics", "--exactly-once", "--at-least-once"),
                    "--guarantee"),
}  # fmt: skip


_IN_TOPOLOGY: Final = {
    **dict.fromkeys(("--value-format", "--format", "--schema", "--value-schema", "--serializer"),
                    'read.kafka("trips", format=Json({"user": pl.String}))'),
    **dict.fromkeys(("--key-format", "--key-schema"),
                    'read.kafka("trips", key_format=Json({"user": pl.String}), format=...)'),
    **dict.fromkeys(("--output-mode", "--mode"), 'write.kafka("totals", mode="update")'),
    **dict.fromkeys(("--watermark", "--delay", "--grace"), 'frame.with_watermark("10 minutes")'),
    **dict.fromkeys(("--window", "--slide"), 'group_by(F.window("at", "1 hour"), "user")'),
    **dict.fromkeys(("--dead-letters", "--dlq", "--on-error"),
                    'read.kafka("trips", on_error="dead_letter", dead_letters="bad-trips")'),
}  # fmt: skip


def meant(error: click.ClickException) -> click.ClickException:
    """The error; one that names our option, where that of another system was given."""
    if not isinstance(error, click.NoSuchOption):
        return error
    if (way := _IN_TOPOLOGY.get(error.option_name)) is not None:
        said = f"No such option {error.option_name!r}. The topology says it: {way}"
        return click.NoSuchOption(error.option_name, said, ctx=error.ctx)
    near = _ELSEWHERE.get(error.option_name)
    if near not in _words(error.ctx):
        return error
    said = f"No such option {error.option_name!r}. Did you mean {near!r}?"
    return click.NoSuchOption(error.option_name, said, ctx=error.ctx)


_COMMANDS: Final = {
    **dict.fromkeys(("start", "worker", "work", "up", "submit", "launch", "consume", "exec"),
                    "run TOPOLOGY"),
    **dict.fromkeys(("plan", "explain", "check", "show", "graph", "topology", "inspect"),
                    "describe TOPOLOGY"),
    **dict.fromkeys(("replay", "retry", "resend", "reprocess"), "dlq redrive TOPOLOGY"),
    **dict.fromkeys(("dead-letters", "deadletters", "dlt", "errors"), "dlq ls TOPOLOGY"),
    **dict.fromkeys(("reset-offsets", "rewind", "seek", "clean"), "reset TOPOLOGY"),
    **dict.fromkeys(("sample", "schema", "sketch", "discover"), "infer TOPIC"),
    **dict.fromkeys(("audit", "compare", "test"), "verify TOPOLOGY"),
    "help": "--help", "version": "--version",
}  # fmt: skip


def meant_command(error: click.UsageError, name: str) -> click.UsageError:
    """The error; one that names our command, where that of another system was given, or none."""
    way = _COMMANDS.get(name.lower())
    if way is None and (name.endswith(".py") or re.fullmatch(r"[\w/]+[.:][\w.:/]+|\./.+", name)):
        way = f"run {name}"
    if way is None or isinstance(error, click.NoSuchOption):
        return error
    command = error.ctx.command_path if error.ctx else "processor"
    return click.UsageError(f"No such command {name!r}. Did you mean `{command} {way}`?", error.ctx)


def taking(*options: Decorator) -> Decorator:
    """A command with these options, in this order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
