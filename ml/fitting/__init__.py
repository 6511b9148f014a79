"""Training: trees, the search for better settings, calibration, and decision weights."""
