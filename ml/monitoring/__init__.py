"""Drift: measures, reference, thresholds, alarms and requests for a training.

``windows`` reads the activity in a window of days. ``reference`` keeps the activity of the days before the last training and
the distances of normal days from it. ``samples`` and ``performance`` hold what a report compares, ``thresholds`` learns the
limits, ``report`` computes the metrics, ``evidently_report`` draws them, ``alarms`` decides.
"""
