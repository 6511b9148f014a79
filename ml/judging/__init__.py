"""How good a model is: baselines, measures with their intervals, plots, cards, and the rule by which it may serve."""
