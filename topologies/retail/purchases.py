"""Sales of a shop, a file a day, to what each customer has spent on each day."""

import polars as pl

from processor import Csv, Topology
from processor import functions as F  # noqa: N812 - as Spark's users write it

SALE = Csv(
    {
        "InvoiceNo": pl.String,
        "StockCode": pl.String,
        "Description": pl.String,
        "Quantity": pl.Int64,
        "InvoiceDate": pl.Datetime("us"),
        "UnitPrice": pl.Float64,
        "CustomerID": pl.Float64,
        "Country": pl.String,
    },
    optional=frozenset({"Description", "CustomerID"}),
    header=True,
)


@Topology.define
def purchases(
    *,
    app: str = "purchases",
    input: str = "sales",  # noqa: A002 - what `--set input=...` is called
    output: str = "spent-by-customer",
    dead_letters: str = "sales-dead-letters",
    window: str = "1 day",
    files: int = 1,
    table: str = "",
) -> Topology:
    """Each batch of results has all customers and days; ``files`` are taken at a time.

    With a name for the ``table`` they can be asked for in SQL while it runs, where it was started
    from Python: ``query.sql("select customer, sum(spent) from spent group by customer")``.
    """
    topology = Topology(app)
    sales = topology.read.files(
        input,
        format=SALE,
        pattern="*.csv",
        max_files_per_trigger=files,
        name="sales",
        event_time="InvoiceDate",
        dead_letters=dead_letters,
    )
    costs = sales.select(
        "InvoiceDate",
        customer=pl.col("CustomerID").cast(pl.Int64),
        cost=pl.col("UnitPrice") * pl.col("Quantity"),
    )
    spent = (
        costs.group_by(F.window("InvoiceDate", window), "customer")
        .agg(spent=F.sum("cost"))
        .select("customer", "window_start", "window_end", "spent")
    )
    spent.write.kafka(output, key="customer", mode="complete")
    if table:
        spent.write.memory(table, mode="complete")
    return topology
