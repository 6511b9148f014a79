"""Wiring: definitions, partitions, resources, jobs, schedules, the dbt translator and the ``customer360`` command.

No logic of the product lives here; it is in ``customer360`` and ``ml``. What replaces parts of Dagster is in ``runtime``.
"""
