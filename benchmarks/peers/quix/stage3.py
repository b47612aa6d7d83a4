"""Sum and number of payments by user and ten minutes."""

from datetime import timedelta

from job import INPUT, OUTPUT, application
from quixstreams.dataframe.windows.aggregations import Count, Sum

SIZE = timedelta(minutes=10)

app = application()
source = app.topic(
    INPUT,
    key_deserializer="str",
    value_deserializer="json",
    timestamp_extractor=lambda value, headers, timestamp, kind: value["ts"],
)
windows = app.dataframe(source).tumbling_window(SIZE, grace_ms=SIZE)
totals = windows.agg(sum=Sum("amount"), count=Count()).current()
totals = totals.apply(
    lambda window, key, timestamp, headers: {"user": key, **window}, metadata=True
)
totals.to_topic(app.topic(OUTPUT, key_serializer="str", value_serializer="json"))
app.run()
