"""The plan as text, for people: `processor describe`."""

from __future__ import annotations

from processor.model import duration
from processor.plan import lateness, nodes, order, pairs


def describe(plan: nodes.Plan) -> str:
    """One line a node, children indented.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> print(describe(topology.plan()))
    topology copy
      read from as text
        write to, append
      on error: dead_letter, dead letters to copy-dead-letters
    """
    source = plan.source()
    lines = [f"topology {plan.app}", f"  {_read(source)}"]
    for sink in plan.sinks:
        for depth, node in enumerate(nodes.path(sink)[1:], start=2):
            of_all = isinstance(node, nodes.Watermark) and any(lateness.beside(plan))
            lines.append("  " * depth + _line(node) + ", of all that is read" * of_all)
        depth = len(nodes.path(sink)) + 1
        key = f" keyed by {', '.join(nodes.key_columns(sink.key))}" if sink.key else ""
        key += f" as {sink.key_format.describe()}" if sink.key_format else ""
        if sink.internal:
            of = ", ".join(nodes.key_columns(sink.key)) or "nothing: all in one place"
            how = "evenly" if sink.evenly else f"by {of}"
            lines.append("  " * depth + f"hand on to {sink.topic} {how}")
            continue
        if sink.outside is not None:
            lines.append("  " * depth + f"{_outside(sink, sink.outside)}, {sink.mode}")
            continue
        carries = f", timestamp {sink.timestamp}" if sink.timestamp else ""
        carries += _headers(sink.headers)
        carries += ", carrying the watermark" if sink.watermark else ""
        lines.append("  " * depth + f"write {sink.topic}{key}, {sink.mode}{carries}")
    lines.append(f"  on error: {source.on_error}, dead letters to {plan.dead_letters()}")
    notes = (*order.unordered(plan), *lateness.beside(plan))
    lines += [f"  see whether this is right: {note}" for note in notes]
    return "\n".join(lines)


def _outside(sink: nodes.Sink, outside: nodes.Outside) -> str:
    if isinstance(outside, nodes.Files):
        return f"write files in {outside.folder} as {sink.format.describe()}"
    if isinstance(outside, nodes.Table):
        return f"keep in memory as the table {outside.name}"
    rows = "each row" if outside.each else f"the rows of each {outside.per}"
    last = "" if sink.newest is None else ", of a group the newest"
    return f"call {outside.name} with {rows}{last}"


def _read(source: nodes.Source) -> str:
    keyed = ", ".join(source.partitioned_by)
    told = [f"partitioned by {keyed}"] * bool(keyed)
    told += [f"{source.spread} partitions"] * bool(source.spread)
    if source.event_time is not None:
        computed = "" if source.time is None else f" of {source.time}"
        computed = ", when it is read" if source.clock else computed
        told.append(f"event time {source.event_time}{computed}")
    if source.key_format is not None:
        told.append(f"the record's key as {source.key_format.describe()}")
        told += [f"its columns called {source.key_prefix}..."] * bool(source.key_prefix)
    for name in ("key", "partition", "offset", "timestamp"):
        if (column := getattr(source, name)) is not None:
            told.append(f"the record's {name} as {column}")
    told += [_headers(source.headers).removeprefix(", ")] * bool(source.headers)
    if source.watermark is not None:
        told.append("the watermark that its records carry")
    fed = "" if source.feed is None else f", fed from {source.feed.describe()}"
    return ", ".join([f"read {source.topic} as {source.format.describe()}{fed}", *told])


def _headers(headers: nodes.Headers | None) -> str:
    if isinstance(headers, str):
        return f", all headers as {headers}"
    return "".join(f", header {name} as {column}" for name, column in headers or ())


def _bounds(node: pairs.Joined) -> str:
    """As in ``from 10m before to 1h behind``.

    >>> from datetime import timedelta as d
    >>> _bounds(pairs.Joined(None, (), (), d(minutes=-10), d(hours=1), "inner", (), None))
    'from 10m before to 1h behind'
    """
    words = (
        f"{duration.text(abs(bound))} {'before' if bound < nodes.NOTHING else 'behind'}"
        for bound in (node.lower, node.upper)
    )
    return "from {} to {}".format(*words)


def _line(node: nodes.Node) -> str:
    if isinstance(node, nodes.Select | nodes.Extend):
        names = [e.meta.output_name(raise_if_undetermined=False) for e in node.expressions]
        word = "select" if isinstance(node, nodes.Select) else "with columns"
        return f"{word} {', '.join(name or '*' for name in names)}"
    if isinstance(node, nodes.Filter):
        return f"filter {node.predicate}"
    if isinstance(node, nodes.Watermark):
        late = f", late records to {node.late}" if node.late else ""
        return f"watermark {duration.text(node.delay)}{late}"
    if isinstance(node, nodes.Aggregate):
        window = [_window(node.window)] if node.window else []
        aggregates = ", ".join(
            f"{a.name}={a.function}({a.column or ''})" for a in node.aggregations
        )
        by = ", ".join([*window, *node.keys])
        return f"group by {by}: {aggregates}" if by else f"aggregate all rows: {aggregates}"
    if isinstance(node, pairs.Joined):
        keys = ", ".join(key.removeprefix(pairs.KEY) for key in node.keys)
        return f"{node.how} join by {keys}, the right {_bounds(node)} of the left's time"
    return f"read {node.topic}" if isinstance(node, nodes.Source) else _ordered(node)


def _ordered(node: nodes.Newest | nodes.Sort | nodes.Limit) -> str:
    if isinstance(node, nodes.Newest):
        return f"the newest row of each {', '.join(node.keys)}"
    if isinstance(node, nodes.Limit):
        return f"the first {node.count}"
    pairs = zip(node.by, node.descending, strict=True)
    named = ", ".join(name + " descending" * down for name, down in pairs)
    return f"order by {named}" + ", nulls last" * node.nulls_last


def _window(window: nodes.Window) -> str:
    every = "" if window.every == window.size else f" every {duration.text(window.every)}"
    start = f" from {duration.text(window.start)} on" if window.start else ""
    return f"window of {duration.text(window.size)}{every}{start}"
