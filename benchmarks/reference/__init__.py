"""The ETL of a published Customer 360 solution, three times over the same files: in its own manner on Spark, pandas, DuckDB.

``columns`` says what comes in and what comes out, ``inputs`` writes the files, ``etl_<engine>`` are the engines, each a process
of its own, and ``python -m benchmarks.reference`` compares what they write and how long it takes them.
"""
