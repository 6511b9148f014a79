"""Predictions of the champions for every customer: scores, value, and reasons as text, a batch at a time."""
