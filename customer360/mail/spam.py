"""SpamAssassin's judgement of a message, where it is installed: by its rules alone, nothing is asked of the network."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

PROGRAM = "spamassassin"
_RULE = re.compile(r"^\s*(-?\d+\.\d)\s+([A-Z0-9_]+)\s+(.*)$", re.MULTILINE)
_SCORE = re.compile(r"^X-Spam-Status: .*?score=(-?\d+\.\d)", re.MULTILINE | re.DOTALL)


class SpamCheckError(RuntimeError):
    """SpamAssassin is not installed, or gave no score."""


@dataclass(frozen=True)
class SpamScore:
    """The score, of which receivers refuse from 5 on, and the rules that make it up with what each adds."""

    score: float
    rules: dict[str, float]


def spam_score(message: bytes) -> SpamScore:
    """The score of a whole message with its headers. Raises ``SpamCheckError``."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise SpamCheckError(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")
    command = [program, "--local", "--test-mode"]
    asked = subprocess.run(command, input=message, capture_output=True, timeout=120, check=False)  # noqa: S603  no shell
    report = asked.stdout.decode(errors="replace")
    found = _SCORE.search(report)
    if found is None:
        raise SpamCheckError(f"{PROGRAM} gave no score; it ended with {asked.returncode}")
    return SpamScore(float(found[1]), {name: float(points) for points, name, _ in _RULE.findall(report)})
