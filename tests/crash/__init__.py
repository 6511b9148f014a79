"""A long crash run of the real daemon: ``make crash KILLS=200``.

A producer keeps landing slices, with everything that producers do wrong; at random moments SIGKILL meets the sensor, a run, the
daemon or all processes at once. At the end the published tables must be those of one clean run of the same files.
"""
