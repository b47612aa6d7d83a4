"""The number of trips by cluster and hour: a grouping, since window functions emit at the end."""

from job import INPUT, OUTPUT, tables

made = tables()
made.execute_sql(
    f"CREATE TABLE trips (dt TIMESTAMP(0), cluster INT) WITH ({INPUT}, 'format' = 'json')"
)
made.execute_sql(
    "CREATE TABLE popular (cluster INT, `start` TIMESTAMP(0), `end` TIMESTAMP(0), "
    "`count` BIGINT, PRIMARY KEY (cluster, `start`) NOT ENFORCED) "
    f"WITH ('connector' = 'upsert-kafka', {OUTPUT}, "
    "'key.format' = 'json', 'value.format' = 'json')"
)
made.execute_sql(
    "INSERT INTO popular SELECT cluster, hr, hr + INTERVAL '1' HOUR, n "
    "FROM (SELECT cluster, FLOOR(dt TO HOUR) AS hr, COUNT(*) AS n FROM trips "
    "GROUP BY cluster, FLOOR(dt TO HOUR))"
).wait()
