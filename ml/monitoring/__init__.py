"""Drift: what is watched, against what it is compared, when a difference is more than noise, and when it asks for a training.

The flow: ``windows`` reads what happened in a window of hours; ``reference`` keeps what it was like when the last model was
judged, and how far normal days lie from that; ``samples`` and ``performance`` are what a report compares; ``thresholds`` says
what is too far; ``report`` puts it together and has ``evidently_report`` draw it; ``alarms`` and ``retraining`` decide.
"""
