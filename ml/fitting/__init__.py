"""How a model is made: trees, the search for better settings, calibration, and the decisions that its probabilities lead to."""
