"""What the stages share: tables in a cluster within one virtual machine, in SQL."""

import os
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment

SERVERS = f"'properties.bootstrap.servers' = '{os.environ['BOOTSTRAP']}'"
INPUT, OTHER = (
    f"'connector' = 'kafka', 'topic' = '{os.environ[name]}', {SERVERS}, "
    f"'properties.group.id' = '{os.environ['GROUP']}', "
    "'properties.isolation.level' = 'read_committed', 'scan.startup.mode' = 'earliest-offset'"
    for name in ("INPUT", "OTHER")
)
OUTPUT = (
    f"'topic' = '{os.environ['OUTPUT']}', {SERVERS}, 'sink.delivery-guarantee' = 'at-least-once'"
)


def tables() -> TableEnvironment:
    made = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    jars = Path(os.environ["JARS"]).glob("*.jar")
    settings = {
        "pipeline.jars": ";".join(f"file://{jar}" for jar in jars),
        "parallelism.default": os.environ["WORKERS"],
        "execution.checkpointing.interval": "5 s",
        "execution.checkpointing.dir": f"file://{os.environ['STATE']}",
        # Without it every record is an update of its key: slower, and not what is compared.
        "table.exec.mini-batch.enabled": "true",
        "table.exec.mini-batch.allow-latency": "500 ms",
        "table.exec.mini-batch.size": "50000",
    }
    for name, value in settings.items():
        made.get_config().set(name, value)
    return made
