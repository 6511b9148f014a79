"""Wiring: definitions, partitions, resources, jobs, schedules, the dbt translator and the ``customer360`` command.

No logic of the product lives here; it is in ``customer360`` and ``ml``. What replaces parts of Dagster is in ``runtime``.
"""

import warnings

# Dagster labels code references and backfill policies as beta: 160 warnings whenever definitions are loaded. Its version is
# pinned in requirements.lock, and the tests would notice another behaviour. By text, as importing the category imports Dagster.
warnings.filterwarnings("ignore", r".* is currently in (beta|preview)")
