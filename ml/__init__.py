"""The models. A package imports only what stands below it in this list; import-linter holds the order.

planning, serving, monitoring    plans, scores and drift reports by the models that serve
versions, effects                the model store and its decisions; what contacts changed
responses, judging               rows of contacts; a model beside baselines and champion
fitting                          training, calibration, decision weights
datasets                         targets, training sets, leakage
measures, bootstrap, frames, markdown, arrays

What lives here: pure functions from the published frames to frames, and the model store's files. Paths, clocks and seeds are
arguments. What does not: Dagster (``assets/`` calls this library), SQL (``dbt_project/`` makes the features) and anything about
one shop (``shops/<name>/shop.yaml`` has it). pandas is the frame at this edge; the engines move the rows.
"""
