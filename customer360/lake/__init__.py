"""Data at rest, from landing to published. Nothing here knows of Dagster, models or campaigns.

Each package imports only those below it (import-linter holds the order):

- ``checking``: ``customer360 check``, files and tables judged before anything runs
- ``operations``: which slices to run, status, retention, replay of quarantined lines
- ``publishing``: versions for readers
- ``warehouse``: the DuckDB file of the runs, its slice log and cut-offs
- ``reference``: reference tables with the validity of every row, from files or PostgreSQL
- ``raw``: validated slices and history, and the quarantine
- ``landing``: the files of producers, their contracts, and their reading
- modules: connections to DuckDB, the object store, slice keys, atomic files, the full disk
"""
