"""Drift reports and upkeep."""
