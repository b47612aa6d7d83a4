"""What users of other systems look for, and the nearest way here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from processor.api.location import caller
from processor.errors import TopologyError
from processor.model.location import Location


class NoSuchError(TopologyError, AttributeError):
    """A method that there is not; to Python it is an attribute that is missing."""


_JOIN: Final = (
    'rows.join(others, on="user", between=("-10 minutes", "1 hour")), which pairs rows of one key '
    "near in time"
)
_ROWS: Final = (
    "one row stays one row here: let the format make many rows of a record, as that of words in "
    'topologies/wordcount does (the guide, "Many rows in a record"); or let the producer write a '
    "record for each element"
)
_LOOK: Final = (
    "nothing is computed here: end it in frame.write.console(), and then `processor run`, or "
    "topology.collect(feed=...)"
)
_COLUMNS: Final = "with_columns(name=expression)"
_STARTS: Final = "a topology is what starts: topology.start(), or `processor run my_module`"
_SELECT: Final = 'select("a", "b") names those that stay'
_ORDER: Final = 'groups have an order: agg(n=F.count()).order_by("n", descending=True).limit(10)'
_ONCE: Final = 'there is none yet; count the rows of a key: group_by("key").agg(n=F.count())'
_NULLS: Final = 'filter(pl.col("a").is_not_null()), or with_columns(pl.col("a").fill_null(value))'
_UNION: Final = "rows.union(others), with columns of the same names and types in both"
_EXPRESSION: Final = "with_columns(name=expression), with expressions of Polars (pl.col, pl.when)"
_WINDOWS: Final = 'group_by(F.window("dt", "1 hour"), "key").agg(n=F.count())'
_SLIDING: Final = (
    'F.window("dt", "1 hour"), or F.window("dt", "1 hour", "10 minutes") for windows that slide; '
    "there are no sessions"
)
_AGGREGATE: Final = 'group_by("key").agg(n=F.count()), by keys or F.window("dt", "1 hour")'
_ONLY_KAFKA: Final = (
    'rows go to Kafka, write.kafka("topic", format=Json()), to files, write.files("out"), or to a '
    "function, write.foreach_batch(save), which can write them anywhere"
)
_FILES: Final = 'write.files("out/rows", format=Json()); or Csv({...}), Text() or Parquet()'
_CALLS: Final = "write.foreach_batch(save), where save(frame, epoch) gets a frame of Polars"
_ROW: Final = "write.foreach(function), of one row as a dictionary"
_MEMORY: Final = (
    'write.memory("totals", mode="update"); then query.table("totals") and query.sql("...")'
)
_ONLY_FROM: Final = (
    'records come from Kafka: read.kafka("topic", format=Json({"a": pl.String})); from files, a '
    "socket, a rate, a queue or a receiver of yours: read.files, read.socket, read.rate, "
    "read.queue, read.receiver"
)
_FOUND: Final = 'read.files("/data/in", format={}), which finds new files while it runs'
_CSV: Final = _FOUND.format('Csv({"a": pl.String}, header=True)')
_SOCKET: Final = 'read.socket("localhost", 9999) has lines, in the column value'
_QUEUE: Final = (
    'queue = Queue(); read.queue(queue, format=Json({"a": pl.String})); queue.put([...])'
)
_RECEIVER: Final = (
    "read.receiver(MyReceiver(), format=...), with read(position, limit), which gives records and "
    "the position behind them"
)
_WRITE: Final = (
    'write.kafka("topic"), write.files("out"), write.foreach_batch(save), write.memory("totals") '
    "or write.console()"
)
TRIGGER: Final = (
    "`processor run --interval 500ms` for Trigger.ProcessingTime; `--until-caught-up` for once and "
    "availableNow"
)
CHECKPOINTS: Final = (
    "`processor run --data-dir DIR` keeps all on this machine; with Kafka, `--redis-url` says "
    "where checkpoints are kept"
)
STATIC_JOIN: Final = (
    "a table that stands still is not joined; look values up by "
    'with_columns(name=pl.col("user").replace_strict({"a": "Ann"}, default=None)), or read the '
    "table's changes as a stream"
)
_OPTIONS: Final = "options of a run are those of `processor run --help`"
_NO_AGGREGATE: Final = "there are F.count, F.sum, F.min, F.max and F.mean"
_HASHES: Final = "this is no function of the processor: expressions are Polars', as in pl."
_OWN_STATE: Final = "state is what aggregates keep: " + _AGGREGATE

JOIN_KEYS: Final = (
    'keys are called the same on both sides, on="user": rename one before, '
    'with_columns(user=pl.col("uid"))'
)
HOW: Final[Mapping[str, str]] = {
    "other": 'there are how="inner" and how="left"',
    **dict.fromkeys(
        ("right", "right_outer", "rightouter"),
        'turn it round: other.join(rows, on=..., how="left", between=("-1 hour", "10 minutes"))',
    ),
    **dict.fromkeys(("left_outer", "leftouter"), 'it is called how="left" here'),
    **dict.fromkeys(
        ("outer", "full", "fullouter", "full_outer"),
        'outer joins are not there yet: how="left" keeps the rows of one side',
    ),
    **dict.fromkeys(
        ("semi", "leftsemi", "left_semi"),
        'semi joins are not there yet: how="inner", and select the columns of one side, which then '
        "come once for each match",
    ),
    **dict.fromkeys(
        ("anti", "leftanti", "left_anti"),
        'anti joins are not there yet: how="left", and a filter that keeps nulls of the other side',
    ),
    "cross": "a cross join of two streams has no end: join by a key",
}
FRAME: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("crossJoin", "cross_join", "join_asof", "joinAsof", "join_where", "cogroup", "merge_asof"),
        _JOIN,
    ),
    **dict.fromkeys(("explode", "flat_map", "flatMap", "unnest", "posexplode"), _ROWS),
    **dict.fromkeys(
        ("show", "collect", "head", "take", "tail", "first", "toPandas", "to_pandas", "toDF",
         "print", "fetch", "to_dicts", "rows", "item", "toLocalIterator"), _LOOK,
    ),
    **dict.fromkeys(("withColumn", "withColumns", "with_column", "assign"), _COLUMNS),
    **dict.fromkeys(
        ("withColumnRenamed", "withColumnsRenamed", "rename"),
        'select("a", b=pl.col("old")) or with_columns(b=pl.col("old"))',
    ),
    **dict.fromkeys(("drop", "dropColumns"), _SELECT),
    **dict.fromkeys(("groupBy", "groupby", "cube", "rollup", "pivot"), _AGGREGATE),
    **dict.fromkeys(("count", "sum", "mean", "min", "max", "reduce", "describe"),
                    _AGGREGATE),
    **dict.fromkeys(
        ("window", "group_by_dynamic", "rolling", "tumbling_window", "hopping_window",
         "sliding_window"), _WINDOWS,
    ),
    **dict.fromkeys(("withWatermark", "watermark"), 'with_watermark("10 minutes")'),
    **dict.fromkeys(("writeStream", "writeTo", "to_topic", "sink", "to", "publish"), _WRITE),
    "trigger": TRIGGER,
    **dict.fromkeys(
        ("orderBy", "sort_by", "sort", "sort_values", "reverse", "sortWithinPartitions",
         "top_k", "bottom_k"), _ORDER,
    ),
    **dict.fromkeys(
        ("distinct", "dropDuplicates", "drop_duplicates", "dropDuplicatesWithinWatermark",
         "unique", "deduplicate"), _ONCE,
    ),
    **dict.fromkeys(("dropna", "drop_nulls", "fillna", "fill_null", "na", "fill_nan"), _NULLS),
    **dict.fromkeys(("unionAll", "unionByName", "concat", "vstack", "merge"), _UNION),
    **dict.fromkeys(("intersect", "subtract", "exceptAll", "minus"),
                    'rows.join(others, on="key", how="left", within="1 hour"), and keep those '
                    "without a match by a filter on null"),
    **dict.fromkeys(
        ("map", "apply", "map_rows", "map_batches", "mapInPandas", "transform", "pipe", "udf",
         "selectExpr", "cast", "process", "update"), _EXPRESSION,
    ),
    **dict.fromkeys(("foreachBatch", "foreachRDD", "foreach_batch"), _CALLS),
    **dict.fromkeys(("foreach", "foreachPartition"), _ROW),
    **dict.fromkeys(("saveAsTextFiles", "saveAsTextFile", "write_parquet", "write_csv"), _FILES),
    **dict.fromkeys(
        ("coalesce", "partitionBy", "key_by", "keyBy", "rekey", "repartitionByRange", "shuffle"),
        'group_by("a") deals its rows out by itself; repartition("a") does so for other steps; '
        'write.kafka("topic", key="a") keys a topic',
    ),
    **dict.fromkeys(
        ("schema", "columns", "dtypes", "printSchema", "explain", "collect_schema"),
        "`processor describe my_module` prints the plan",
    ),
    **dict.fromkeys(("start", "run", "awaitTermination", "isStreaming"), _STARTS),
    **dict.fromkeys(("cache", "persist", "checkpoint", "unpersist"),
                    "state is kept by itself; take the call out"),
    **dict.fromkeys(("sample", "randomSplit"), 'filter(pl.col("key").hash() % 10 == 0)'),
    **dict.fromkeys(("createOrReplaceTempView", "sql"), f"{_EXPRESSION}; or {_MEMORY}"),
    "alias": "there is one frame only; columns are named by expression.alias",
    "stateful": _OWN_STATE,
}  # fmt: skip
GROUP: Final[Mapping[str, str]] = {
    **{name: f'agg(n=F.{name}("a"))' for name in ("sum", "min", "max", "mean")},
    **dict.fromkeys(("count", "len", "size"), "agg(n=F.count())"),
    "avg": 'agg(n=F.mean("a"))',
    "aggregate": "agg(n=F.count())",
    **dict.fromkeys(
        ("apply", "applyInPandas", "applyInPandasWithState", "mapGroupsWithState",
         "flatMapGroupsWithState", "transformWithState", "reduce", "map_groups"),
        f"agg(n=F.count()); {_NO_AGGREGATE}",
    ),
    **dict.fromkeys(("pivot", "cogroup", "first", "last", "head"),
                    f"agg(n=F.count()); {_NO_AGGREGATE}"),
    **dict.fromkeys(("write", "select", "filter", "with_columns", "having"),
                    "aggregate first: agg(n=F.count()), which gives a frame"),
}  # fmt: skip
READER: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("delta", "jdbc", "table", "redis", "orc", "topic", "stream", "load", "format", "iceberg"),
        _ONLY_FROM,
    ),
    **dict.fromkeys(("csv", "file", "fileStream", "load_csv"), _CSV),
    "json": _FOUND.format('Json({"a": pl.String})'),
    **dict.fromkeys(("text", "textFile", "textFileStream"), _FOUND.format("Text()")),
    "parquet": _FOUND.format('Parquet({"a": pl.String})'),
    **dict.fromkeys(("tcp", "socketTextStream", "socket_text_stream"), _SOCKET),
    **dict.fromkeys(("queueStream", "queue_stream", "memory"), _QUEUE),
    **dict.fromkeys(("receiverStream", "receiver_stream", "custom"), _RECEIVER),
    **dict.fromkeys(("option", "options"), _OPTIONS),
    "schema": 'a format has the columns: format=Json({"a": pl.String})',
}  # fmt: skip
WRITER: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("delta", "redis", "orc", "format", "save", "iceberg", "topic"), _ONLY_KAFKA,
    ),
    **dict.fromkeys(("csv", "json", "text", "parquet", "file", "saveAsTextFiles", "path"), _FILES),
    **dict.fromkeys(("jdbc", "foreachBatch", "foreachRDD", "for_each_batch", "sql"), _CALLS),
    **dict.fromkeys(("for_each", "foreachPartition", "each"), _ROW),
    **dict.fromkeys(("table", "toTable", "saveAsTable", "queryName"), _MEMORY),
    **dict.fromkeys(("mode", "outputMode"), 'write.kafka("topic", mode="update")'),
    **dict.fromkeys(("option", "options"), _OPTIONS),
    "trigger": TRIGGER,
    **dict.fromkeys(("start", "awaitTermination", "run"), _STARTS),
    "partitionBy": 'write.kafka("topic", key="a")',
}  # fmt: skip
AGGREGATE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("alias", "as_", "name", "label", "rename"),
                    'its name is that of the argument: agg(s=F.sum("amount"))'),
    **dict.fromkeys(("over", "filter", "where", "distinct"),
                    'make the column before group_by: with_columns(a=pl.when(...).then("a"))'),
    **dict.fromkeys(("cast", "round", "fill_null", "mul", "truediv", "add"),
                    'compute with the result: agg(s=F.sum("a")).with_columns(y=pl.col("s") / 2)'),
}  # fmt: skip
TOPOLOGY: Final[Mapping[str, str]] = {
    **dict.fromkeys(("run", "execute", "awaitTermination", "main", "stop"), _STARTS),
    **dict.fromkeys(("readStream", "stream", "source", "topic", "input", "from_", "dataframe"),
                    _ONLY_FROM),
    **dict.fromkeys(("textFileStream", "fileStream"), f"topology.{_FOUND.format('Text()')}"),
    **dict.fromkeys(("socketTextStream", "socket_text_stream"), f"topology.{_SOCKET}"),
    **dict.fromkeys(("queueStream", "queue_stream"), _QUEUE),
    **dict.fromkeys(("receiverStream", "receiver_stream"), f"topology.{_RECEIVER}"),
    **dict.fromkeys(("write", "sink", "output", "to"),
                    'a frame is written: frame.write.kafka("topic")'),
    **dict.fromkeys(("table", "agent"), _ONLY_FROM),
    "sql": f"SQL asks what is kept: {_MEMORY}",
}  # fmt: skip
_ENDS: Final = "start(until_caught_up=True) works through what is there, and ends"
_DESCRIBE: Final = "`processor describe my_module` prints the plan"
QUERY: Final[Mapping[str, str]] = {
    "isActive": "is_active",
    "lastProgress": "last_progress",
    "recentProgress": "recent_progress",
    "awaitTermination": "await_termination(timeout), in seconds",
    **dict.fromkeys(("processAllAvailable", "process_all_available"), _ENDS),
    **dict.fromkeys(("id", "app"), "name; run_id is another one for each start"),
    "runId": "run_id",
    "explain": _DESCRIBE,
    **dict.fromkeys(("join", "wait", "result"), "await_termination(timeout)"),
    **dict.fromkeys(("close", "cancel", "terminate", "shutdown", "kill"), "stop()"),
    **dict.fromkeys(("error", "failure"), "exception"),
}  # fmt: skip
FUNCTIONS: Final[Mapping[str, str]] = {
    **{name: f"pl.{name}" for name in ("col", "lit", "when", "struct", "concat_str", "coalesce")},
    **dict.fromkeys(("avg", "average"), "F.mean"),
    "concat": "pl.concat_str",
    **dict.fromkeys(
        ("first", "last", "median", "stddev", "std", "var", "variance", "quantile", "any_value",
         "percentile_approx", "collect_list", "collect_set", "mode", "product", "sumDistinct",
         "countDistinct", "count_distinct", "approx_count_distinct", "n_unique", "sum_distinct",
         "max_by", "min_by", "array_agg", "corr"), _NO_AGGREGATE,
    ),
    **dict.fromkeys(
        ("session_window", "sliding_window", "hopping_window", "tumbling_window", "session",
         "sliding", "hopping", "tumbling"),
        _SLIDING,
    ),
    **dict.fromkeys(("explode", "explode_outer", "posexplode", "flatten"), _ROWS),
    **dict.fromkeys(("from_json", "from_csv", "from_avro", "schema_of_json"),
                    'read.kafka("topic", format=Json({"a": pl.String})) makes the columns'),
    **dict.fromkeys(("to_json", "to_csv", "to_avro"), 'write.kafka("topic", format=Json())'),
    **dict.fromkeys(("udf", "pandas_udf"), 'pl.col("a").map_elements(function, return_dtype=...)'),
    **dict.fromkeys(("to_timestamp", "to_date", "unix_timestamp"),
                    'a format reads times; so does pl.col("a").str.to_datetime("%d/%m/%Y %H:%M")'),
    **dict.fromkeys(("processingTime", "window_time", "proc_time", "proctime"),
                    'F.window(F.processing_time(), "1 minute")'),
    **dict.fromkeys(("current_timestamp", "now", "rand", "uuid", "current_date", "randn"),
                    "a result must be the same when it is computed again: take it from the record"),
    **dict.fromkeys(("row_number", "rank", "lag", "lead", "dense_rank", "over"),
                    f"a row is computed from itself; for more, {_AGGREGATE}"),
    **dict.fromkeys(("expr", "asc", "desc", "broadcast"), _EXPRESSION),
    **{name: f'pl.col("a").str.{to}' for name, to in
       {"upper": "to_uppercase()", "lower": "to_lowercase()", "trim": "strip_chars()",
        "split": 'split(" ")', "length": "len_chars()", "substring": "slice(0, 3)",
        "regexp_replace": 'replace_all("from", "to")',
        "regexp_extract": 'extract("a(.)", 1)'}.items()},
    **{name: f'pl.col("dt").dt.{name}()' for name in ("year", "month", "hour", "minute")},
    **dict.fromkeys(("date_trunc", "trunc"), 'pl.col("dt").dt.truncate("1h")'),
    **dict.fromkeys(("sha2", "md5", "hash", "xxhash64"), 'pl.col("a").hash()'),
}  # fmt: skip


def missing(
    what: str,
    name: str,
    ways: Mapping[str, str],
    there: list[str],
    at: Location | None = None,
) -> AttributeError:
    """The error for a name that ``what`` does not have; ``there`` is what it has.

    ``at`` is the user's line, where it is not asked for in this package.

    >>> print(missing("a frame", "withColumn", FRAME, []).remedy)
    with_columns(name=expression)
    """
    if name.startswith("_"):  # Python itself asks, and takes the answer for a no
        return AttributeError(name)
    near = difflib.get_close_matches(name, there, n=1)
    known = ways.get(name) or (f"did you mean {near[0]}? " if near else "")
    if ways is FRAME and not near:
        known = known or f'a column is written pl.col("{name}"); '
    remedy = known if name in ways else f"{known}there are: {', '.join(sorted(there))}"
    return NoSuchError(f"{at or caller()}: {what} has no {name!r}", remedy=remedy)


def public(owner: type) -> list[str]:
    """The methods that users call."""
    return [name for name in dir(owner) if not name.startswith("_")]
