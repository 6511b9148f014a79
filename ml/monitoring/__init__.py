"""Drift: what is measured, the reference it is compared with, the thresholds, and when a training is asked for.

The flow: ``windows`` reads the activity in a window of hours; ``reference`` keeps the activity of when the last model was
judged, and how far normal days lie from that; ``samples`` and ``performance`` are what a report compares; ``thresholds`` learns
the limits; ``report`` puts it together and has ``evidently_report`` draw it; ``alarms`` decides.
"""
