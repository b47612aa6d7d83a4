"""Sum and number of payments by user and ten minutes, through a repartition topic."""

from datetime import timedelta

from job import INPUT, OUTPUT, application
from quixstreams.dataframe.windows.aggregations import Count, Sum

SIZE = timedelta(minutes=10)
HOUR = timedelta(hours=1)  # one task in front may be far ahead of another

app = application()
source = app.topic(
    INPUT,
    key_deserializer="str",
    value_deserializer="json",
    timestamp_extractor=lambda value, headers, timestamp, kind: value["ts"],
)
users = app.dataframe(source).group_by("user")
totals = users.tumbling_window(SIZE, grace_ms=HOUR).agg(sum=Sum("amount"), count=Count()).current()
totals = totals.apply(
    lambda window, key, timestamp, headers: {"user": key, **window}, metadata=True
)
totals.to_topic(app.topic(OUTPUT, key_serializer="str", value_serializer="json"))
app.run()
