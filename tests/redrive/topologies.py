"""Prices by shop; the first form knows no ``n/a``, the mended one does."""

import polars as pl

from processor import Json, Topology
from processor import functions as F


@Topology.define
def prices(
    *,
    app: str = "prices",
    input: str = "orders",  # noqa: A002 - as users name it
    output: str = "prices-by-shop",
    dead: str = "prices-dead",
    mended: bool = False,
) -> Topology:
    topology = Topology(app)
    form = Json({"shop": pl.String, "price": pl.String})
    orders = topology.read.kafka(input, format=form, partitioned_by="shop", dead_letters=dead)
    price = pl.col("price").replace("n/a", None) if mended else pl.col("price")
    rows = orders.with_columns(price=price.cast(pl.Float64))
    counts = rows.group_by("shop").agg(n=F.count(), known=F.count("price"))
    counts.write.kafka(output, key="shop", mode="update")
    return topology
