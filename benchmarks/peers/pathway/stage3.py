"""Sum and number of payments by user and ten minutes."""

import pathway as pw
from job import read, run

SIZE_MS = 600_000


class Payment(pw.Schema):
    user: str
    amount: float
    ts: int


payments = read(format="json", schema=Payment)
payments = payments.select(pw.this.user, pw.this.amount, start=pw.this.ts // SIZE_MS * SIZE_MS)
totals = payments.groupby(pw.this.user, pw.this.start).reduce(
    pw.this.user,
    pw.this.start,
    sum=pw.reducers.sum(pw.this.amount),
    count=pw.reducers.count(),
)
totals = totals.with_columns(end=pw.this.start + SIZE_MS)
run(totals, totals.user)
