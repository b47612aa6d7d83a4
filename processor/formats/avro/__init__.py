"""Avro: bare binary records of one schema, to columns and back.

A record's bytes say nothing of where a field begins: that follows from what is before it. So a
batch is read field by field, each for all records at once, with a cursor in every record::

    record 0   02 06 61 62 63 …          cursor 1 ──► 5
    record 1   01 02 61 …                cursor 1 ──► 3
               └id └─ name

`schema` has the types, `kinds` their columns, `resolve` what a reader's schema makes of a writer's;
`batch`, `nodes`, `joints` and `leaves` read, `single` reads one record, `write` and `layout` write.
`codec` is the seam: one writer's records to the reader's columns, and rows to records, with no
knowledge of topics, headers or registries. `declared` is what a topology says.
"""
