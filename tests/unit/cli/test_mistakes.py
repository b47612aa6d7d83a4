"""What users get wrong, and what they read: never a traceback, never a secret.

Each row is a module beside the user (or none), a command line, and what has to be told: the code,
the place, the cause. Every answer has exit code 2, and says what to do.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from processor.cli.main import cli
from processor.connectors.kafka import log as kafka_log
from tests.services.handle import Unavailable
from tests.services.listeners import Listener, closed

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = """\
import polars as pl
from processor import Csv, Json, Text, Topology
from processor import functions as F
COLUMNS = {"user": pl.String, "n": pl.Int64, "x": pl.Float64, "dt": pl.Datetime("us")}
topology = Topology("mine")
rows = topology.read.kafka("in", format=Json(COLUMNS), event_time="dt", partitioned_by="user")
"""
LINE = HEAD.count("\n") + 1
GOOD = 'rows.write.kafka("out")'
DEFINED = """\
from processor import Text, Topology
@Topology.define
def mine(*, app: str = "mine", size: int = 5, password: int = 1) -> Topology:
    topology = Topology(app)
    topology.read.kafka("in", format=Text()).write.kafka("out", format=Text())
    return topology
"""
SECRETS = ("hunter2", "hun", "ter2")


@dataclass
class Row:
    """One mistake."""

    name: str
    code: str
    words: Sequence[str]
    module: str = HEAD + GOOD
    args: Sequence[str] = ("run", "mistake", "--until-caught-up")
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def line(text: str, *words: str) -> Row:
    """A line that is wrong in a module that is right: told at the line."""
    place = f"mistake.py:{LINE}: "
    return Row(text, "topology", (place, *words), HEAD + text, ("describe", "mistake"))


def option(name: str, *words: str, args: Sequence[str], **more: Any) -> Row:
    return Row(name, "settings", words, args=("run", "mistake", "--until-caught-up", *args), **more)


def usage(name: str, *words: str, args: Sequence[str], **more: Any) -> Row:
    return Row(name, "usage", words, args=args, **more)


TOPOLOGIES = [
    # What a line of a topology asks for.
    line("rows.write.kafka('out', mode='overwrite')", "mode='overwrite'", "append, update"),
    line("rows.write.kafka('out', key='nope')", "key='nope' is no column", "user, n, x, dt"),
    line("rows.write.kafka('out', key=['user', 'n'])", "key is ['user', 'n'] (list)"),
    line("rows.write.kafka(['out'])", "the topic is ['out'] (list)"),
    line("rows.write.kafka('out', format='json')", "format is 'json' (str)"),
    line("rows.write.kafka('out', format=Text())", "text is one column"),
    line("rows.write.kafka('out topic')", "'out topic' cannot be a topic"),
    line("rows.write.kafka('out'); rows.write.kafka('out')", "is written a second time"),
    Row("dead letters into an output", "topology", (f"mistake.py:{LINE - 1}: ", "dead letters"),
        HEAD + "rows.write.kafka('mine-dead-letters')", ("describe", "mistake")),
    line("rows.select(k=pl.concat_list('n', 'n')).write.kafka('out', key='k')",
         "key='k' is List(Int64), which cannot be a key"),
    line("rows.select(k=pl.struct('n', 'x')).write.kafka('o', format=Csv({'k': pl.String}))",
         "cannot be written to 'o'"),
    line("rows.select(k=pl.concat_list(pl.col('user').cast(pl.Binary)).list.to_array(1))"
         ".write.kafka('o')",
         "column 'k', which is Array(Binary, shape=(1,)), cannot be written to 'o' as json"),
    line("rows.write.kafka('out', mode='update')", "without an aggregate"),
    line("rows.group_by('user').agg(c=F.count()).group_by('c').agg(n=F.count())"
         ".write.kafka('o', mode='update')", "groups that may still change", "with_watermark"),
    line("rows.union(1).write.kafka('o')", "frames of one topology", "rows.union(others)"),
    line("rows.group_by().agg(c=F.count()).write.kafka('o')", "at least one key", "rows.agg"),
    line("rows.write.parquet('out')", "write has no 'parquet'", "write.files("),
    line("rows.select('nope').write.kafka('out')", 'unable to find column "nope"', "user, n, x"),
    line("rows.select(n='user').write.kafka('out')", "n='user' is no Polars", 'n=pl.col("user")'),
    line("rows.select(5).write.kafka('out')", "5 is no Polars expression"),
    line("rows.select('user', 'user').write.kafka('out')", "duplicate output name 'user'"),
    line("rows.select(y=pl.col('n').sum()).write.kafka('out')", "looks at other rows"),
    line("rows.with_columns(y=pl.col('user') + 1).write.kafka('o')", "with_columns cannot be"),
    line("rows.with_columns('n' + 1).write.kafka('o')", "TypeError: can only concatenate"),
    line("rows.filter('n > 1').write.kafka('o')", 'unable to find column "n > 1"'),
    line("rows.filter(pl.col('n')).write.kafka('o')", "must be of type `Boolean`"),
    line("rows.filter(True)", "True is no Polars expression"),
    line("rows.with_watermark(5)", "the watermark's delay is 5 (int)", '"2 days"'),
    line("rows.with_watermark('soon')", "is not a duration"),
    line("rows.with_watermark('dt', '5 minutes')", "too many positional", "read.kafka"),
    line("rows.join(rows)", "missing a required argument: 'on'", "between="),
    line("rows.explode('n')", "a frame has no 'explode'", "stays one row"),
    line("rows.withColumn('y', rows.n)", "a frame has no 'withColumn'", "with_columns"),
    line("rows['user']", "no rows or columns to take out", 'pl.col("a")'),
    line("rows.group_by(['user'])", "a key of group_by is ['user'] (list)"),
    line("rows.group_by('user').agg(F.count())", "too many positional", "agg(n=F.count(), "),
    line("rows.group_by('user').count()", "a group has no 'count'", "agg(n=F.count())"),
    line("rows.group_by('user').agg(c=F.sum('user')).write.kafka('o', mode='update')",
         "sum of 'user' is not possible: it is String"),
    line("rows.group_by('nope').agg(c=F.count()).write.kafka('o', mode='update')",
         "agg cannot be computed", "user, n, x, dt"),
    line("rows.group_by('user').agg(c=F.count()).write.kafka('o')", "windows that close"),
    line("F.window('dt', '1 hour', every='5 minutes')", "'every'", "have a slide"),
    line("F.avg('n')", "F has no 'avg'", "F.mean"),
    line("F.sum(pl.col('n'))", "F.sum is ", "with_columns"),
    line("Json({'a': int})", "column 'a' cannot be read as", "write pl.Int64 for int"),
    line("Json({'a': 'timestamp'})", "cannot be read as timestamp", 'pl.Datetime("us")'),
    line("Json({'a': list[str]})", "column 'a' cannot be read as", "pl.List(pl.String)"),
    line("Csv({'a': pl.Int64}, delimiter=';')", "'delimiter'", "write separator for delimiter"),
    line("Csv({'a': pl.Int64}, null_value='-')", "'null_value'", "write nulls", "Csv takes"),
    line("Csv({'a': pl.Int64}, seperator=';')", "write separator for seperator"),
    line("Csv()", "missing 1 required positional argument", "Csv takes columns, separator"),
    line("Json({'a': pl.Int64}, mode='PERMISSIVE')", "'mode'", "on_error="),
    line("Text(encoding='latin-1')", "'encoding'", "Bytes()"),
    line("import processor; processor.Registry('http://u:hunter2@h:1', auth=('u', 'hunter2'))",
         "'auth'"),
    line("from processor import JsonSerde", "cannot import name", "processor import Json"),
    line("from processor import F", "cannot import name", "processor import functions as F"),
    line("from processor import SparkSession", "cannot import name", ".read.kafka("),
    line("from processor import Xyzzy", "cannot import name", "there are Arrow, Avro, "),
    line("topology.run()", "a topology has no 'run'", "processor run"),
    line("topology.readStream", "a topology has no 'readStream'", "read.kafka"),
    line("Topology('my app')", "application id 'my app' cannot be used"),
    # What was written as in another system, with the way here.
    line("rows.write.console().trigger(processingTime='1 second')", "no attribute 'trigger'",
         "processor run --interval 500ms", "nothing more"),
    line("rows.group_by('user').agg(F.sum('n').alias('s'))", "an aggregate has no 'alias'",
         'agg(s=F.sum("amount"))'),
    line("rows.group_by('user').agg(s=F.sum('n') / 2)", "unsupported operand", "with_columns(y="),
    line("rows.where('x > 3').write.kafka('o')", 'unable to find column "x > 3"',
         'SQL is not taken: pl.col("x") > 3'),
    line("rows.filter('x = 3 and n > 1').write.kafka('o')", "SQL is not taken", 'pl.col("x") == 3'),
    line("rows.select('n * 2').write.kafka('o')", "SQL is not taken"),
    line("rows.filter(rows.amount > 3)", "a frame has no 'amount'", 'pl.col("amount")'),
    line("rows.filter(rows.id == 3)", "a frame has no 'id'", 'pl.col("id")'),
    line("F.window('dt', '1 hour', '5 minutes', '0s', 1)", "too many positional", "that slides"),
    line("rows.group_by('user').agg(c=F.count()).with_watermark('1h').write.kafka('o')",
         "windows that close", "belongs before group_by"),
    line("rows.select(['user', 'n'])", "is no Polars expression", 'select("user", "n")'),
    line("rows.filter((pl.col('n') > 1) and (pl.col('x') > 1))", "is ambiguous\n    rows",
         "& (pl.col("),
    line("rows.filter(1 < pl.col('n') < 5)", "is ambiguous", "is_between"),
    line("rows.filter(not pl.col('n'))", "is ambiguous", "~ for not"),
    line("rows.filter('a' in pl.col('user'))", "is not iterable", "is_in"),
    line("rows.select(pl.col('n').as_('x'))", "no attribute 'as_'", '.alias("b")'),
    line("rows.select(pl.col('n').cast('int'))", "data type", "cast(pl.Int64)"),
    line("rows.filter(pl.col('user').is_in('a', 'b'))", "is_in() takes", 'is_in(["x", "y"])'),
    line("rows.filter(pl.col('user').isNull())", "no attribute 'isNull'", "is_null()"),
    line("rows.filter(pl.col('user').str.startswith('a'))", "startswith", "starts_with"),
    line("rows.select(pl.column('n'))", "no attribute 'column'", 'pl.col("a")'),
    line("rows.select(pl.col('n').is_nul())", "is_nul", 'did you mean pl.col("a").is_null?'),
    line("rows.sort('n')", "a frame has no 'sort'", "groups have an order"),
    line("rows.order_by('n').write.kafka('o')", "rows without end have no order", "group first"),
    line("rows.union(rows.select('n')).write.kafka('o')", "union of streams with other columns",
         "'user', 'x', 'dt' only in 'in'", "select the same"),
    line("rows.group_by(F.window('t', '1h')).agg(c=F.count()).write.kafka('o', mode='update')",
         "over 't', and there is no such column", "the event time is 'dt'"),
    line("rows.filter(pl.col('x')).write.kafka('o')", "must be of type `Boolean`",
         'pl.col("x") > 0'),
    # What a module does.
    line("raise RuntimeError('hidden reasons')", "RuntimeError: hidden reasons"),
    line("print(undefined)", "NameError: name 'undefined'", "    print(undefined)"),
    line("import not_there_at_all", "No module named 'not_there_at_all'", "spelt"),
    line("x = 1 +", "SyntaxError: invalid syntax"),
    line("import sys; sys.exit(5)", "SystemExit: 5"),
    line("int('five')", "ValueError: invalid literal"),
    line("rows.write.kafka('out', key='user', headers={})", "headers is {}", "trace_id"),
    line("rows.write.kafka('out', headers=['user'])", "headers is ['user'] (list)", "trace_id"),
    line("rows.write.kafka('out', headers='user')", "headers='user' is String, and no list"),
    line("rows.write.kafka('out', headers={'a': 'nope'})", "'nope'} is no column", "user, n, x"),
    line("rows.write.kafka('out', timestamp='n')", "timestamp='n' is Int64, no time"),
    line("rows.write.kafka('out', timestamp=pl.col('dt'))", "timestamp is ", "with_columns"),
    Row("a record's key behind an aggregate", "topology",
        (f"mistake.py:{LINE}: key='k' is a record's own", "behind the aggregate"),
        HEAD.replace('event_time="dt"', 'key="k"')
        + "rows.group_by('user').agg(c=F.count()).write.kafka('o', key='k', mode='update')",
        ("describe", "mistake")),
    Row("the key of a topic, meant by the key of its records", "topology",
        (f"mistake.py:{LINE - 1}: key='user' is a column of the format too", "partitioned_by"),
        HEAD.replace('partitioned_by="user"', 'key="user"') + GOOD, ("describe", "mistake")),
    Row("writes nowhere", "topology", (f"mistake.py:{LINE - 2}: ", "writes nowhere"), HEAD,
        ("describe", "mistake")),
    Row("a forgotten return", "topology", ("mistake.py:2: f returns nothing", "return topology"),
        "from processor import Topology\n@Topology.define\ndef f(*, a: str = 'x'):\n  Topology(a)"),
    Row("a parameter without a type", "topology", ("mistake.py:2: parameter 'a' needs",),
        "from processor import Topology\n@Topology.define\ndef f(a='x'):\n  return Topology(a)"),
    Row("no topology", "topology", ("mistake.py: one topology is needed", "@Topology.define"), ""),
    Row("two topologies", "topology", ("mistake.py: ", "there are 2: topology, b", "say which"),
        HEAD + "b = Topology('b')"),
    Row("another attribute", "topology", ("mistake.py: no topology is called 'other'",),
        args=("describe", "mistake:other")),
    Row("no such module", "topology", ("there is no module 'mistakes'",), args=("run", "mistakes")),
    Row("no such file", "topology", ("there is no file mistakes.py",),
        args=("run", "./mistakes.py")),
    Row("the same twice", "topology", (f"mistake.py:{LINE - 2}", "one application id, 'mine'"),
        args=("run", "mistake", "mistake")),
    # Parameters.
    Row("an unknown parameter", "topology", ("parameter 'sise'", "did you mean size?"), DEFINED,
        ("run", "mistake", "--set", "sise=1")),
    Row("a parameter of another type", "topology", ("mistake.py:2: size='five' is no int",),
        DEFINED, ("run", "mistake", "--set", "size=five")),
    Row("a secret parameter", "topology", ("mistake.py:2: password=", "is no int"), DEFINED,
        ("run", "mistake", "--set", "password=hunter2")),
]  # fmt: skip
OPTIONS = [
    usage("no topology is named", "Missing argument 'TOPOLOGY...'", args=("run",)),
    usage("an unknown command", "No such command 'beginning'", args=("beginning", "mistake")),
    *(usage(f"another system's command {given}", f"No such command '{given}'", f"{ours}`?",
            args=(given, "mistake"))
      for given, ours in (
          ("start", "run TOPOLOGY"), ("./mistake.py", "run ./mistake.py"),
          ("mistake.py:topology", "run mistake.py:topology"), ("a.mistake", "run a.mistake"),
          ("retry", "dlq redrive TOPOLOGY"), ("help", "--help"),
      )),
    *(usage(f"what the topology says, {given}", f"'{given}'. The topology says it: ", way,
            args=("run", "mistake", given, "x"))
      for given, way in (
          ("--value-format", "format=Json("), ("--output-mode", 'mode="update"'),
          ("--watermark", "with_watermark("),
      )),
    usage("a registry's address for its settings", "is for --schema-registry-url, not 'http'",
          args=("run", "mistake", "--schema-registry", "http://user:hunter2@registry:1/?a=b")),
    usage("an unknown option", "'--worker'. Did you mean '--workers'?",
          args=("run", "mistake", "--worker", "2")),
    *(usage(f"another system's {given}", f"'{given}'. Did you mean '{ours}'?",
            args=(command, "mistake", given, "x"))
      for command, given, ours in (
          ("run", "--broker", "--bootstrap-servers"), ("run", "--once", "--until-caught-up"),
          ("run", "--checkpoint-location", "--redis-url"), ("run", "--master", "--workers"),
          ("run", "--group-id", "--set"), ("run", "--exactly-once", "--guarantee"),
          ("run", "--state-dir", "--data-dir"), ("verify", "--conf", "--kafka"),
      )),
    usage("an option of another command", "No such option '--once'",
          args=("verify", "mistake", "--once")),
    usage("a word for a number", "'--workers': 'many'", args=("run", "x", "--workers", "many")),
    usage("a guarantee", "'--guarantee': 'always'", args=("run", "x", "--guarantee", "always")),
    usage("a pair", "'--set': give name=value, not 'window'", args=("run", "x", "--set", "window")),
    usage("a password behind a colon", "'--kafka': give name=value, not 'sasl.password'",
          args=("run", "x", "--kafka", "sasl.password:hunter2")),
    usage("a password in a number", "'--workers'", args=("run", "x", "--workers", "r://:hunter2@h")),
    option("workers", "--workers = 0", args=("--workers", "0")),
    option("interval", "--interval = 'soon'", "500ms", args=("--interval", "soon")),
    option("port", "--metrics-port = 70000", args=("--metrics-port", "70000")),
    option("instance", "--instance = 'my host'", args=("--instance", "my host")),
    usage("a topology for a number", "'mistake' was taken for the number of partitions",
          args=("run", "--create-topics", "mistake")),
    usage("a word for partitions", "'many' was taken for the number of partitions",
          args=("run", "mistake", "--create-topics", "many")),
    option("no partitions", "--create-topics = '0'", "at least 1",
           args=("--create-topics", "0")),
    option("print on Kafka", "--print shows", args=("--print", "--bootstrap-servers", "b:9092")),
    Row("the console on Kafka", "topology", (f"mistake.py:{LINE}: write.console()",),
        HEAD + "rows.write.console()",
        ("run", "mistake", "--bootstrap-servers", "b:9092")),
    option("no settings file", "none.toml does not exist", args=("--config", "none.toml")),
    option("a directory", "settings file . is a directory", "name the file: processor.toml",
           args=("--config", ".")),
    *(Row(f"{name}, on the embedded log", "log", words,
          args=("run", "mistake", "--until-caught-up", "--kafka", name))
      for name, words in [
          ("fetch.wait.max.msx=5", ('"fetch.wait.max.msx"', "did you mean fetch.wait.max.ms?")),
          ("sasl.pasword=hunter2", ('"sasl.pasword"', "did you mean sasl.password?")),
          ("consumer.fetch.min.bite=1", ('"fetch.min.bite"', "did you mean fetch.min.bytes?")),
          ("linger.ms=soon", ('"queue.buffering.max.ms"', "linger.ms is the same")),
          ("security.protocol=tls", ('"tls"', '"security.protocol"')),
          ("stats_cb=x", ('"stats.cb"',)),
      ]),
    option("an object of the client", "--kafka logger=x", args=("--kafka", "logger=x")),
    option("a promise", "--kafka isolation.level=read_uncommitted", "aborted transactions",
           args=("--kafka", "isolation.level=read_uncommitted")),
    option("another partitioner", "--kafka partitioner=random", "murmur2",
           args=("--kafka", "partitioner=random")),
    option("a Redis database", "--redis-url: its database is no number", "redis://host:6379/0",
           args=("--redis-url", "redis://cache/abc")),
    option("a Redis scheme", "--redis-url: it begins with no redis://",
           args=("--redis-url", "redis//:hunter2@cache")),
    option("a slash in a password", "--redis-url: its host and port cannot be told apart", "%2F",
           args=("--redis-url", "redis://me:hun/ter2@cache")),
    option("a hash in a password", "--redis-url: ", "%23",
           args=("--redis-url", "redis://me:hun#ter2@cache")),
    option("Redis for Kafka", "--bootstrap-servers: it has a user or a password in it",
           args=("--bootstrap-servers", "redis://:hunter2@cache:6379")),
    option("a port of Kafka", "--bootstrap-servers: the port of broker", "host:9092",
           args=("--bootstrap-servers", "broker:kafka")),
    option("an IPv6 address", "--bootstrap-servers: ", "[::1]:9092",
           args=("--bootstrap-servers", "::1:9092")),
    option("tokens from nowhere", "sasl.mechanism=OAUTHBEARER: nothing says where its tokens",
           "sasl.oauthbearer.method=oidc",
           args=("--kafka", "sasl.mechanism=OAUTHBEARER", "--bootstrap-servers", "broker:9092")),
    option("a semicolon between brokers", "--bootstrap-servers: ", "a comma between them",
           args=("--bootstrap-servers", "one:9092;two:9092")),
    option("an unknown variable", "PROCESSOR_WOKERS: there is no such setting; did you mean "
           "PROCESSOR_WORKERS?", args=(), env={"PROCESSOR_WOKERS": "2"}),
    option("a variable", "PROCESSOR_WORKERS = 'two'", args=(), env={"PROCESSOR_WORKERS": "two"}),
    option("a variable that is no table", "PROCESSOR_KAFKA is no JSON object", args=(),
           env={"PROCESSOR_KAFKA": "sasl.password=hunter2"}),
    option("a promise in a variable", "PROCESSOR_KAFKA__acks=1 is not possible", args=(),
           env={"PROCESSOR_KAFKA__ACKS": "1", "PROCESSOR_KAFKA__SASL_PASSWORD": "hunter2"}),
    option("no TOML", "processor.toml is no TOML", "line 1", args=(),
           files={"processor.toml": "workers = two"}),
    option("an unknown key", "processor.toml: there is no setting wokers; did you mean workers?",
           args=(), files={"processor.toml": "wokers = 2"}),
    option("a text for a table", "processor.toml: kafka is a table", args=(),
           files={"processor.toml": 'kafka = "sasl.password=hunter2"'}),
    option("a promise in the file", "processor.toml: kafka.enable.auto.commit=true", args=(),
           files={"processor.toml": "[kafka]\nenable.auto.commit = true\n"
                                    'sasl.password = "hunter2"\n'}),
    option("a list for a URL", "processor.toml: redis_url: ", args=(),
           files={"processor.toml": 'redis-url = ["redis://:hunter2@cache"]'}),
    option("a feed for Kafka", "--feed puts lines into the embedded log only",
           args=("--feed", "in=x", "--bootstrap-servers", "broker:9092")),
    option("no home", "/dev/null/.local/state/processor cannot be used", "--redis-url",
           args=("--workers", "2", "--bootstrap-servers", "broker:9092"),
           env={"HOME": "/dev/null", "XDG_STATE_HOME": ""}),
    option("a state directory", "/proc/none/processor cannot be used", "--redis-url",
           args=("--workers", "2", "--bootstrap-servers", "broker:9092"),
           env={"XDG_STATE_HOME": "/proc/none"}),
    option("a data directory", "/proc/none cannot be used", "--data-dir",
           args=("--data-dir", "/proc/none")),
    option("no data directory", "--data-dir = '': a directory is needed",
           args=("--data-dir", "")),
    Row("a directory without a log", "settings", ("there is no log in none", "--data-dir"),
        args=("verify", "mistake", "--data-dir", "none")),
    Row("verify without Kafka", "settings", ("embedded log is empty", "--bootstrap-servers"),
        args=("verify", "mistake")),
    Row("late without Kafka", "settings", ("embedded log is empty", "--bootstrap-servers"),
        args=("late", "mistake")),
    Row("infer without Kafka", "settings", ("embedded log is empty", "--bootstrap-servers"),
        args=("infer", "mistake")),
    Row("reset without Kafka", "settings", ("embedded log is empty", "--bootstrap-servers"),
        args=("reset", "mistake")),
    Row("a time", "settings", ("--from 'yesterday'", "2026-08-01T12:00:00"),
        args=("verify", "mistake", "--from", "yesterday", "--bootstrap-servers", "broker:9092")),
    Row("a place", "settings", ("--to 'yesterday'", "earliest, latest"),
        args=("reset", "mistake", "--to", "yesterday", "--bootstrap-servers", "broker:9092")),
    *(
        Row(f"reset {name}", "settings", words,
            args=("reset", "mistake", *args, "--bootstrap-servers", "broker:9092"))
        for name, words, args in (
            ("to nothing", ("--to ''", "earliest, latest"), ("--to", "")),
            ("to no day", ("--to '2026-02-30'", "2026-08-01T12:00:00"), ("--to", "2026-02-30")),
            ("of a range", ("--partitions '0-3'", "commas between them: 0,3"),
             ("--partitions", "0-3")),
            ("of no partition", ("--partitions ''", "0,3"), ("--partitions", "")),
            ("of a negative one", ("--partitions '-1'", "0,3"), ("--partitions", "-1")),
            ("of a watermark to an offset", ("--watermark '1200' is no time",),
             ("--watermark", "1200")),
            ("of a watermark by a duration", ("--watermark '2 days' is no time", "2026-08-01T"),
             ("--watermark", "2 days")),
            ("and a watermark", ("--to and --watermark exclude each other",),
             ("--to", "latest", "--watermark", "2026-08-01")),
        )
    ),
    Row("a time to verify to", "settings", ("--to '2026-08-01T25:00'", "2026-08-01T12:00:00"),
        args=("verify", "mistake", "--to", "2026-08-01T25:00", "--bootstrap-servers", "b:9092")),
    option("a beginning", "--from = 'yesterday'", "earliest, latest", "2026-08-01T12:00:00",
           args=("--from", "yesterday")),
    option("an offset to begin at", "--from = '1200'", "2026-08-01T12:00:00",
           args=("--from", "1200")),
    option("a beginning in the environment", "PROCESSOR_FROM = 'Latest'", "earliest, latest",
           args=(), env={"PROCESSOR_FROM": "Latest"}),
    option("a time of day in the file", "processor.toml: from", "2026-08-01T12:00:00", args=(),
           files={"processor.toml": "from = 12:00:00"}),
    option("a number in the file", "processor.toml: from", "2026-08-01T12:00:00", args=(),
           files={"processor.toml": "from = 1200"}),
    Row("delays", "settings", ("--delays: ", "is not a duration", "10m,1h,2d"),
        args=("late", "mistake", "--delays", "soon", "--bootstrap-servers", "broker:9092")),
    Row("an input of the demo", "settings", ("--input none.csv cannot be read",),
        args=("demo", "--input", "none.csv")),
    Row("an output of the demo", "settings", ("--output /proc/none cannot be made",),
        args=("demo", "--output", "/proc/none")),
    Row("centroids of the demo", "topology", ("centroid file none.json",),
        args=("demo", "--centroids", "none.json")),
    Row("a bad record", "record", ("in[", "offset 0", "no JSON", "dead_letter"),
        HEAD.replace('partitioned_by="user"', 'on_error="fail"') + GOOD,
        args=("run", "mistake", "--until-caught-up", "--feed", "in=bad.json"),
        files={"bad.json": "{\n"}),
]  # fmt: skip
ROWS = [*TOPOLOGIES, *OPTIONS]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty directory to be in, and nothing in the environment."""
    import os

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != ""])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [name for name in os.environ if name.startswith("PROCESSOR_")]:
        monkeypatch.delenv(name)
    yield tmp_path
    sys.modules.pop("mistake", None)


def told(row: Row, place: Any, **patched: str) -> str:
    """What a user reads; checks what holds for every mistake."""
    (place / "mistake.py").write_text(textwrap.dedent(row.module))
    for name, text in row.files.items():
        (place / name).write_text(text)
    args = [patched.get(arg, arg) for arg in row.args]
    done = CliRunner().invoke(cli, args, env=row.env)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert not [secret for secret in SECRETS if secret in done.output], done.output
    if row.code == "usage":
        assert "Usage: " in done.output
        assert "--help" in done.output
        assert "Error: " in done.output
    else:
        assert f"error ({row.code}): " in done.output
        assert "\n  remedy: " in done.output
        assert done.output.partition("\n  remedy: ")[2].strip()
    for word in row.words:
        assert word in done.output, done.output
    return done.output


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name[:60])
def test_a_mistake_is_told_with_its_place_its_cause_and_a_remedy(row, place):
    told(row, place)


def test_there_are_many_and_each_is_another():
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)
def test_where_json_was_asked_for_every_line_is_json(row, place):
    for name, text in row.files.items():
        (place / name).write_text(text)
    (place / "mistake.py").write_text(row.module)
    args = [*row.args] if row.name == "an unknown command" else [*row.args, "--log-format", "json"]
    env = {**row.env, "PROCESSOR_LOG_FORMAT": "json"}
    done = CliRunner().invoke(cli, args, env=env)
    assert done.exit_code == 2
    lines = [json.loads(line) for line in done.output.splitlines()]
    assert lines[-1]["code"] == row.code
    assert lines[-1]["level"] == "error"
    assert not [secret for secret in SECRETS if secret in done.output]


FILES = {
    "an unknown key": 'log-format = "json"\nwerkers = 2\n',
    "a bad value": "\"log_format\"= 'json'\nworkers = 0\n",
    "no TOML": 'workers = 2\n  log-format="json" # for the collector\nkafka = {\n',
    "a bad client's setting": 'log-format = "json"\n[kafka]\nacks = 1\n',
}


@pytest.mark.parametrize("command", ["run", "describe", "verify", "late", "infer", "reset"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", ["beside", "option", "option=", "variable"])
def test_a_settings_file_that_asks_for_json_is_told_as_json_whatever_is_wrong_in_it(
    command, name, way, place
):
    path = "processor.toml" if way == "beside" else "other.toml"
    (place / path).write_text(FILES[name])
    (place / "mistake.py").write_text(HEAD + GOOD)
    args = {"option": ["--config", path], "option=": [f"--config={path}"]}.get(way, [])
    env = {"PROCESSOR_CONFIG": path} if way == "variable" else {}
    done = CliRunner().invoke(cli, [command, "mistake", *args], env=env)
    assert done.exit_code == 2
    (told,) = [json.loads(line) for line in done.output.splitlines()]
    assert (told["code"], told["level"]) == ("settings", "error")


def test_what_the_command_line_or_a_variable_says_of_the_form_goes_before_the_file(place):
    (place / "processor.toml").write_text(FILES["an unknown key"])
    for args, env in [
        (["--log-format", "text"], {}),
        ([], {"PROCESSOR_LOG_FORMAT": "text"}),
        (["--log-format=text"], {"PROCESSOR_LOG_FORMAT": "json"}),
    ]:
        done = CliRunner().invoke(cli, ["run", "mistake", *args], env=env)
        assert done.output.startswith("error (settings): "), done.output


# Servers that are not there, or are something else.


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(kafka_log, "REQUEST_S", 1.5)
    monkeypatch.setattr(kafka_log, "FIRST_S", 0.7)


KAFKA = ("run", "mistake", "--give-up-after", "0s", "--redis-url", "REDIS", "--bootstrap-servers")
REDIS = ("run", "mistake", "--give-up-after", "0s", "--redis-url")
TLS = ("--kafka", "security.protocol=ssl")
SASL = ("--kafka", "security.protocol=sasl_plaintext", "--kafka", "sasl.mechanism=PLAIN",
        "--kafka", "sasl.username=me", "--kafka", "sasl.password=hunter2")  # fmt: skip
CONNECTIONS: dict[str, tuple[Any, str, Sequence[str], Sequence[str]]] = {
    "Kafka: a wrong port": (None, "log_retriable", ("AT", "nothing listens there"),
                            (*KAFKA, "AT")),
    "Kafka: a wrong port, with a password": (None, "log_retriable", ("nothing listens there",),
                                             (*KAFKA, "AT", *SASL)),
    "Kafka: an unknown host": (None, "log_retriable", ("nohost.invalid", "no such host is known"),
                               (*KAFKA, "nohost.invalid:9092")),
    "Kafka: nothing answers": ("silent", "log_retriable", ("AT", "gives no answer"),
                               (*KAFKA, "AT")),
    "Kafka: a Redis": ("redis", "log", ("AT", "no Kafka broker"), (*KAFKA, "AT")),
    "Kafka: plain to TLS": ("tls", "log", ("AT", "it speaks TLS", "security.protocol=ssl"),
                            (*KAFKA, "AT")),
    "Kafka: TLS to plain": ("redis", "log", ("AT", "does not speak TLS"), (*KAFKA, "AT", *TLS)),
    "Kafka: an unknown authority": ("tls", "log", ("AT", "authority that is not known"),
                                    (*KAFKA, "AT", *TLS)),
    "Kafka: no such authority's file": (None, "log", ("ssl.ca.location", "--kafka"),
                                        (*KAFKA, "AT", *TLS, "--kafka", "ssl.ca.location=none")),
    "Kafka: a name with a slip": (None, "log", ('"sasl.pasword"', "did you mean sasl.password?"),
                                  (*KAFKA, "AT", "--kafka", "sasl.pasword=hunter2")),
    "Kafka: an unknown mechanism": (None, "log", ("mechanism", "SCRAM-SHA-256"),
                                    (*KAFKA, "AT", *SASL, "--kafka", "sasl.mechanism=PLAINN")),
    "Kafka: an unknown protocol": (None, "log", ('"security.protocol"',),
                                   (*KAFKA, "AT", "--kafka", "security.protocol=tls")),
    "Redis: a wrong port": (None, "store_away", ("AT", "nothing listens there"),
                            (*REDIS, "redis://me:hunter2@AT/0")),
    "Redis: an unknown host": (None, "store_away", ("nohost.invalid", "no such host is known"),
                               (*REDIS, "redis://me:hun@ter2@nohost.invalid")),
    "Redis: nothing answers": ("hangs up", "store_away", ("AT", "may be no Redis"),
                               (*REDIS, "redis://:hunter2@AT")),
    "Redis: plain to TLS": ("tls", "store", ("AT", "it speaks TLS", "rediss://"),
                            (*REDIS, "redis://:hunter2@AT")),
    "Redis: an unknown authority": ("tls", "store", ("AT", "authority that is not known"),
                                    (*REDIS, "rediss://:hunter2@AT")),
    "Redis: TLS to plain": ("says no", "store", ("AT", "does not speak TLS"),
                            (*REDIS, "rediss://:hunter2@AT")),
    "Redis: a wrong password": ("no password", "store", ("AT", "refused the user or the password"),
                                (*REDIS, "redis://:hunter2@AT")),
    "Redis: no password": ("wants one", "store", ("AT", "wants a password"),
                           (*REDIS, "redis://AT")),
    "Redis: no such socket": (None, "store_away", ("/none.sock", "no such file"),
                              (*REDIS, "unix:///none.sock")),
}  # fmt: skip
SAYS = {
    "silent": lambda _: b"",
    "hangs up": lambda _: None,
    "redis": lambda _: b"-ERR unknown command\r\n",
    "says no": lambda _: b"-ERR unknown command\r\n",
    "no password": lambda _: b"-WRONGPASS invalid username-password pair\r\n" * 3,
    "wants one": lambda _: b"-NOAUTH Authentication required.\r\n" * 3,
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_server_that_cannot_be_had_is_told_by_its_cause(name, soon, place):
    kind, code, words, args = CONNECTIONS[name]
    with contextlib.ExitStack() as stack:
        address = closed()
        if kind is not None:
            try:
                made = Listener(tls=True) if kind == "tls" else Listener(SAYS[kind])
            except Unavailable as reason:
                pytest.skip(str(reason))
            address = stack.enter_context(made).address
        filled = [a.replace("AT", address) for a in args]
        filled = [f"redis://{closed()}" if a == "REDIS" else a for a in filled]
        wanted = [w.replace("AT", address) for w in words]
        told(Row(name, code, wanted, args=filled), place)


def test_a_port_that_is_taken_is_named(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        args = ("run", "mistake", "--until-caught-up", "--metrics-port", port)
        told(Row("port", "settings", (f"127.0.0.1:{port}", "already in use"), args=args), place)


def test_a_fault_of_ours_has_a_traceback_and_says_whose_it_is(place, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("redis://:hunter2@cache cannot be")

    monkeypatch.setattr("processor.app.load_topologies", broken)
    (place / "mistake.py").write_text(HEAD + GOOD)
    done = CliRunner().invoke(cli, ["run", "mistake"])
    assert done.exit_code == 1
    assert "Traceback" in done.output
    assert "error (bug): RuntimeError: redis://***@cache cannot be" in done.output
    assert "this is a fault of the processor" in done.output
    assert "hunter2" not in done.output
