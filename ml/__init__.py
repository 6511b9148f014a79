"""The models, each package above what it imports (import-linter holds the order).

``planning``, ``serving``, ``monitoring`` use what is trained; ``versions`` keeps the models, ``effects`` measures what contacts
change; ``responses`` makes rows of contacts, ``judging`` compares a model with baselines and champion; ``fitting`` trains;
``datasets`` makes targets and training sets; ``measures``, ``bootstrap``, ``frames``, ``markdown`` and ``arrays`` know no model.

What lives here: pure functions from the published frames to frames, and the model store's files. Paths, clocks and seeds are
arguments. What does not: Dagster (``assets/`` calls this library), SQL (``dbt_project/`` makes the features) and anything about
one shop (``shops/<name>/shop.yaml`` says it). pandas is the frame at this edge; the engines move the rows.
"""
