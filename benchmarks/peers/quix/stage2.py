"""The number of trips by cluster and hour."""

from datetime import timedelta

from job import INPUT, OUTPUT, application, ms

HOUR = timedelta(hours=1)

app = application()
source = app.topic(
    INPUT,
    key_deserializer="str",
    value_deserializer="json",
    timestamp_extractor=lambda value, headers, timestamp, kind: ms(value["dt"]),
)
counts = app.dataframe(source).tumbling_window(HOUR, grace_ms=HOUR).count().current()
counts = counts.apply(
    lambda window, key, timestamp, headers: {
        "cluster": int(key),
        "start": window["start"],
        "end": window["end"],
        "count": window["value"],
    },
    metadata=True,
)
counts.to_topic(app.topic(OUTPUT, key_serializer="str", value_serializer="json"))
app.run()
