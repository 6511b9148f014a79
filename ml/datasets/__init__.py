"""Targets, training sets and their splits, and the checks for target leakage and look-ahead."""
