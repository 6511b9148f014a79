"""The private DuckDB file: its lock, what is pending, points in time, and copies of it that show another time."""
