"""The library under the product: settings, the lake (landing to published), the synthetic shop and adapters.

It never imports Dagster or ``ml``. The clock, the seed, paths and connections come in as arguments.
"""
