"""Each order with each payment of its user from its own time up to ten minutes later."""

from job import INPUT, OTHER, OUTPUT, tables

TIME = (
    "ts BIGINT, moment AS TO_TIMESTAMP_LTZ(ts, 3), "
    "WATERMARK FOR moment AS moment - INTERVAL '1' HOUR"
)

made = tables()
made.execute_sql(
    f"CREATE TABLE orders (`user` STRING, `order` BIGINT, {TIME}) WITH ({INPUT}, 'format' = 'json')"
)
made.execute_sql(
    f"CREATE TABLE payments (`user` STRING, payment BIGINT, amount DOUBLE, {TIME}) "
    f"WITH ({OTHER}, 'format' = 'json')"
)
made.execute_sql(
    "CREATE TABLE paid (`user` STRING, `order` BIGINT, ordered BIGINT, payment BIGINT, "
    f"amount DOUBLE, paid BIGINT) WITH ('connector' = 'kafka', {OUTPUT}, 'key.format' = 'json', "
    "'key.fields' = 'user', 'value.format' = 'json')"
)
made.execute_sql(
    "INSERT INTO paid SELECT o.`user`, o.`order`, o.ts, p.payment, p.amount, p.ts "
    "FROM orders o, payments p WHERE o.`user` = p.`user` "
    "AND p.moment BETWEEN o.moment AND o.moment + INTERVAL '10' MINUTE"
).wait()
