"""Speed and memory, measured in one run beside a bare script, never as a timed test: ``make bench NAME=<module>``."""
