"""Data at rest, from landing to published: contracts, raw slices, quarantine, slice log, warehouse, publishing.

Nothing here knows of Dagster, models or campaigns.
"""
