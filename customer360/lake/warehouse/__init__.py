"""The private DuckDB file: its lock, the log of pending slices, cut-offs, and copies as of an earlier time."""
