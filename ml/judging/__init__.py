"""Judging a model: baselines, evaluation with intervals, plots, and the rule by which it is promoted."""
