"""The ETL of a published Customer 360 solution over the same files on three engines: Spark (its own views), pandas and DuckDB.

``columns`` says what comes in and what comes out, ``inputs`` writes the files, ``etl_<engine>`` are the engines, each a process
of its own, and ``python -m benchmarks.reference`` compares what they write and how long it takes them.
"""
