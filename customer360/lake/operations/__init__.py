"""Operation of the lake: clock, slice requests, health, status, retention, replay."""
