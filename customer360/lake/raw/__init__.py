"""Validated slices and history as Parquet, and the lines that were set aside."""
