"""The settings of a run, from the command line, the environment and a file, in this order.

=================  ================================  ===========================
command line       environment                       ``processor.toml``
=================  ================================  ===========================
``--workers 4``    ``PROCESSOR_WORKERS=4``           ``workers = 4``
``--set a=1``      ``PROCESSOR_SET__a=1``            ``[set]`` ``a = 1``
``--kafka x.y=z``  ``PROCESSOR_KAFKA__X_Y=z``        ``[kafka]`` ``x.y = "z"``
=================  ================================  ===========================

``set``, ``kafka`` and ``schema_registry`` are merged name by name; anything else is taken whole
from the first that gives it. A fault names where it stands, what stands there and what would be
right, but no secret. A setting of the Kafka client that would break a promise is a fault too.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypedDict

import orjson
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from processor import masking
from processor.errors import SettingsError
from processor.model import given as taken
from processor.model.given import Directory, Duration, Names, Place, Texts, Wait, Whole, create
from processor.refusals import addresses, words
from processor.refusals import kafka as client
from processor.refusals import registry as schemas

PREFIX: Final = "PROCESSOR_"
FILE: Final = "processor.toml"
_TABLES: Final = ("set", "kafka", "schema_registry")
_SECRETS: Final[Mapping[str, Callable[[str], bool]]] = {
    "kafka": client.secret, "schema_registry": schemas.secret, "set": masking.secret_name,
}  # fmt: skip
# Variables that are no settings: the file's name, where a test kills a worker, what tests run
# against, and what Windows sets.
_OTHERS: Final = frozenset(
    {"CONFIG", "CRASH_AT", "ARCHITECTURE", "ARCHITEW6432", "IDENTIFIER", "LEVEL", "REVISION"}
)
_OF_TESTS: Final = "TEST_"


class Given(TypedDict, total=False):
    """The settings that a call in Python takes by keyword, as `processor run` has them as options.

    >>> sorted(Settings.model_fields.keys() - Given.__annotations__.keys())
    ['log_format', 'log_level']
    """

    config: Path | str | None
    bootstrap_servers: str | None
    redis_url: str | None
    schema_registry_url: str | None
    data_dir: Path | str | None
    interval: str | float | timedelta
    guarantee: Literal["exactly-once", "at-least-once"]
    workers: int
    stages: str | Sequence[str]
    until_caught_up: bool
    create_topics: bool | int
    set: Mapping[str, object]
    metrics_port: int | None
    metrics_host: str
    batch_records_max: int | None
    batch_bytes_max: int
    from_: str | datetime
    on_checkpoint_loss: Literal["stop", "replay", "changelog"]
    allow_dropped_state: bool
    on_partitions_raised: Literal["stop", "rebuild"]
    instance: str | None
    kafka: Mapping[str, object]
    schema_registry: Mapping[str, object]
    session_timeout: str | float | timedelta
    transaction_timeout: str | float | timedelta
    give_up_after: str | float | timedelta
    shutdown_timeout: str | float | timedelta


class Settings(BaseSettings):
    """Everything that a run can be told; `load` makes it from the three places.

    >>> Settings(interval="2 s", workers=2).interval
    datetime.timedelta(seconds=2)
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    bootstrap_servers: str | None = None
    redis_url: SecretStr | None = None
    schema_registry_url: SecretStr | None = None
    data_dir: Directory | None = None
    interval: Duration = timedelta(milliseconds=100)
    guarantee: Literal["exactly-once", "at-least-once"] = "exactly-once"
    workers: Whole = Field(default=1, ge=1, le=1024)
    stages: Names | None = None
    until_caught_up: bool = False
    create_topics: Annotated[bool | int, BeforeValidator(create)] = False
    set: Texts = Field(default_factory=dict)
    metrics_port: Whole | None = Field(default=None, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    batch_records_max: Whole | None = Field(default=None, ge=1)
    batch_bytes_max: Whole = Field(default=64 * 1024 * 1024, ge=1)
    from_: Place = "earliest"
    on_checkpoint_loss: Literal["stop", "replay", "changelog"] = "stop"
    allow_dropped_state: bool = False
    on_partitions_raised: Literal["stop", "rebuild"] = "stop"
    instance: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,200}$")
    log_format: Literal["auto", "json", "text"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    # Passwords of SASL and TLS are among these.
    kafka: Texts = Field(default_factory=dict, repr=False)
    schema_registry: Texts = Field(default_factory=dict, repr=False)
    session_timeout: Wait = timedelta(seconds=10)
    transaction_timeout: Wait = timedelta(seconds=10)
    give_up_after: Duration = timedelta(minutes=15)
    shutdown_timeout: Wait = timedelta(seconds=30)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `load` merges the places, since it tells each fault's origin."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def load(config: Path | None = None, *, python: bool = False, **cli: object) -> Settings:
    """Read the settings: options given here, then ``PROCESSOR_*``, then the file.

    ``config`` names the file; else ``PROCESSOR_CONFIG`` does; else ``processor.toml`` is read where
    there is one. An option that is ``None`` was not given. With ``python`` the options are
    arguments of a call, and faults name them so. Raises `SettingsError` with one line for each
    fault.

    >>> load(workers=4, set={"window": "5 minutes"}).set
    {'window': '5 minutes'}
    """
    file, name = _file(config)
    given = {key: value for key, value in cli.items() if value is not None}
    _conceal(file)
    _conceal(given)
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    own = _argument if python else _option
    for layer, origin in (
        (file, lambda path: f"{name}: {_written(path)}"),
        (_environment(), _variable),
        (given, own),
    ):
        for field, value in layer.items():
            if field in _TABLES and isinstance(value, Mapping):
                table = {_table_key(field, key): text for key, text in taken.flat(value)}
                merged[field] = {**merged.get(field, {}), **table}
                origins |= {f"{field}.{key}": origin(f"{field}.{key}") for key in table}
            else:
                merged[field] = value
                origins[field] = origin(field)
    faults = _refused(merged, origins)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        faults = [_fault(fault, merged, origins, own) for fault in error.errors()] + faults
    if faults:
        remedy = _remedy(faults, origins.values())
        raise SettingsError("\n".join(faults), remedy=_in_python(remedy) if python else remedy)
    return settings


def _remedy(faults: Sequence[str], origins: Collection[str]) -> str:
    """Names the settings: each fault begins with where it is given.

    >>> _remedy(["--workers = 0: input should be greater than or equal to 1"], ["--workers"])
    'correct --workers; `processor run --help` lists them all'
    """
    given = [max((o for o in origins if f.startswith(o)), key=len, default="") for f in faults]
    named = ", ".join(dict.fromkeys(filter(None, given))) or "the setting"
    return f"correct {named}; `processor run --help` lists them all"


def conceal(settings: Settings) -> None:
    """See that no message of this process shows a secret of the settings; `load` does so itself."""
    _conceal(settings.model_dump())


def _conceal(layer: Mapping[str, Any]) -> None:
    for field in ("redis_url", "schema_registry_url", "bootstrap_servers"):
        value = layer.get(field)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str):
            masking.conceal_address(text)
    for field, secret in _SECRETS.items():
        table = layer.get(field)
        if isinstance(table, Mapping):
            for name, text in taken.flat(table):
                if secret(_table_key(field, name)):
                    masking.conceal(text)


def _refused(merged: Mapping[str, Any], origins: Mapping[str, str]) -> list[str]:
    """Addresses that cannot be meant, and settings of the client that would break a promise."""
    faults = []
    for field, fault in (
        ("bootstrap_servers", addresses.kafka_fault),
        ("redis_url", addresses.redis_fault),
        ("schema_registry_url", schemas.url_fault),
    ):
        value = merged.get(field)
        why = fault(value) if isinstance(value, str) else None
        if why is not None:
            faults.append(f"{origins[field]}: {why}")
    for field, broken in (("kafka", client.broken), ("schema_registry", schemas.broken)):
        table = merged.get(field)
        for name, value in table.items() if isinstance(table, Mapping) else ():
            why = broken(name, value)
            if why is not None:
                shown = masking.MASK if _SECRETS[field](name) else value
                faults.append(f"{origins[f'{field}.{name}']}={shown} is not possible: {why}")
    table = merged.get("kafka")
    if isinstance(table, Mapping) and (lacking := client.lacking(table)) is not None:
        name = next(name for name in table if "sasl.mechanism" in name)
        faults.append(f"{origins[f'kafka.{name}']}={table[name]}: {lacking}")
    return faults


_REMEDY: Final = "correct the setting; `processor run --help` lists them all"


def _file(config: Path | None) -> tuple[dict[str, Any], str]:
    """The file's settings, and what to call it."""
    named = config or os.environ.get(f"{PREFIX}CONFIG")
    path = Path(named or FILE).expanduser()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not named:
            return {}, FILE
        raise SettingsError(
            f"the settings file {path} does not exist",
            remedy=f"correct --config or {PREFIX}CONFIG, or write the file",
        ) from None
    except IsADirectoryError:
        raise SettingsError(
            f"the settings file {path} is a directory", remedy=f"name the file: {path / FILE}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the settings file {path} cannot be read: {error}", remedy="see that it is UTF-8 text"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"the settings file {path} is no TOML: {error}",
            remedy="text stands in quotes; a table begins with [set] or [kafka]",
        ) from None
    known = {_written(field): field for field in Settings.model_fields}
    faults = []
    settings: dict[str, Any] = {}
    for key, value in values.items():
        plain = key.replace("-", "_")
        if plain in _TABLES and not isinstance(value, Mapping):
            faults.append(f"{path}: {plain} is a table: write [{plain}], and name = value below it")
        elif plain in known:
            settings[known[plain]] = value
        else:
            faults.append(f"{path}: there is no setting {key}{_nearest(plain, known)}")
    if faults:
        raise SettingsError("\n".join(faults), remedy=_REMEDY)
    return settings, str(path)


def _environment() -> dict[str, Any]:
    """The settings among the environment's variables; one that means nothing is refused."""
    known = {_written(field): field for field in Settings.model_fields}
    settings: dict[str, Any] = {}
    tables: dict[str, dict[str, str]] = {}
    faults = []
    for variable, value in sorted(os.environ.items()):
        if not variable.startswith(PREFIX) or not value:
            continue  # compose files pass on what is not set as empty
        name, _, key = variable[len(PREFIX) :].partition("__")
        field = known.get(name.lower())
        if field is None or (key and field not in _TABLES):
            whole = variable[len(PREFIX) :]
            if whole not in _OTHERS and not whole.startswith(_OF_TESTS):
                near = _nearest(name.lower(), known, _variable)
                faults.append(f"{variable}: there is no such setting{near}")
            continue
        if field in _TABLES and key:
            # Written all in capitals, as variables are, a name is meant in small letters.
            tables.setdefault(field, {})[key.lower() if key.isupper() else key] = value
        elif field in _TABLES:
            settings[field] = _json(variable, value)
        else:
            settings[field] = value
    for field, table in tables.items():
        settings[field] = {**settings.get(field, {}), **table}
    _conceal(settings)
    if faults:
        raise SettingsError("\n".join(faults), remedy=_REMEDY)
    return settings


def _json(variable: str, value: str) -> dict[str, Any]:
    try:
        table = orjson.loads(value)
    except orjson.JSONDecodeError:
        table = None
    if not isinstance(table, dict):
        raise SettingsError(
            f"{variable} is no JSON object",
            remedy=f'write {variable}=\'{{"name": "value"}}\' or {variable}__name=value'
            + _address(variable, value),
        )
    return table


def _address(variable: str, value: str) -> str:
    """What is said of an address where the properties of its client are due."""
    other = f"{variable}_URL"
    if other != "PROCESSOR_SCHEMA_REGISTRY_URL" or value.lstrip().startswith("{"):
        return ""
    return f"; where the registry is, is for {other} to say"


def _table_key(field: str, key: str) -> str:
    """A name in a table as its receiver spells it.

    Shells take no dots in a variable's name, and no option of librdkafka that text can set has an
    underscore, so that one stands for a dot. Parameters of a topology are Python names.
    """
    return key.replace("-", "_") if field == "set" else key.lower().replace("_", ".")


def _fault(
    fault: Any,
    merged: Mapping[str, Any],
    origins: Mapping[str, str],
    option: Callable[[str], str],
) -> str:
    """One line: where it stands, what stands there, what is right."""
    field, *rest = (str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = dict.fromkeys(Settings.model_fields)
        near = _nearest(field, known, str if option is _argument else None)
        return f"{option(field)}: there is no such setting{near}"
    path = ".".join([field, *rest])
    where = origins.get(path) or origins.get(field) or option(field)
    value = merged.get(field)
    shown = "" if field in (*_TABLES, "redis_url", "schema_registry_url") else f" = {value!r}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    expected = re.findall(r"'([^']+)'", str(fault.get("ctx", {}).get("expected", "")))
    near = _nearest(str(value), dict.fromkeys(expected)) if expected else ""
    return f"{where}{shown}: {message[:1].lower()}{message[1:]}{near}"


def _nearest(
    name: str, known: Mapping[str, object], written: Callable[[str], str] | None = None
) -> str:
    near = [word] if (word := words.meant(name)) in known else get_close_matches(name, known, n=1)
    return f"; did you mean {(written or _written)(near[0])}?" if near else ""


def _written(field: str) -> str:
    """A setting as people write it: ``from_`` is a name for Python only."""
    return field.rstrip("_")


def _option(path: str) -> str:
    field, _, key = path.partition(".")
    option = "--" + _written(field).replace("_", "-")
    return f"{option} {key}" if key else option


def _argument(path: str) -> str:
    field, _, key = path.partition(".")
    return f"{field}[{key!r}]" if key else field


def _in_python(remedy: str) -> str:
    return remedy.replace("`processor run --help` lists them all", "docs/settings.md has them all")


def _variable(path: str) -> str:
    field, _, key = path.partition(".")
    variable = PREFIX + _written(field).upper()
    return f"{variable}__{key}" if key else variable
