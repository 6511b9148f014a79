"""The models, in the order of the flow: datasets, fitting, judging, versions, serving, planning, monitoring.

What lives here: pure functions from the published frames to frames, and the model store's files. Paths, clocks and seeds are
arguments. What does not: Dagster (``assets/`` calls this library), SQL (``dbt_project/`` makes the features) and anything about
one shop (``shops/<name>/shop.yaml`` says it). pandas is the frame at this edge; the engines move the rows.
"""
