"""Senders of mail are killed ten times while the receiver loses connections: no message twice, none lost."""

from __future__ import annotations

from pathlib import Path

from benchmarks.email_crash import crash


def test_a_killed_sender_sends_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    found = crash(tmp_path, messages=600, kills=10, drop=0.01)
    assert (found.doubled, found.lost, found.unexplained) == (0, 0, 0)
    assert found.accepted + found.unknown == 600
    assert found.accepted > 500
