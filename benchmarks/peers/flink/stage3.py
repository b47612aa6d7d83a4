"""Sum and number of payments by user and ten minutes: a grouping, as in stage 2."""

from job import INPUT, OUTPUT, tables

made = tables()
made.execute_sql(
    f"CREATE TABLE payments (`user` STRING, amount DOUBLE, ts BIGINT) "
    f"WITH ({INPUT}, 'format' = 'json')"
)
made.execute_sql(
    "CREATE TABLE spend (`user` STRING, `start` BIGINT, `end` BIGINT, `sum` DOUBLE, "
    "`count` BIGINT, PRIMARY KEY (`user`, `start`) NOT ENFORCED) "
    f"WITH ('connector' = 'upsert-kafka', {OUTPUT}, "
    "'key.format' = 'json', 'value.format' = 'json')"
)
made.execute_sql(
    "INSERT INTO spend SELECT `user`, st, st + 600000, s, n FROM "
    "(SELECT `user`, ts - MOD(ts, 600000) AS st, SUM(amount) AS s, COUNT(*) AS n "
    "FROM payments GROUP BY `user`, ts - MOD(ts, 600000))"
).wait()
