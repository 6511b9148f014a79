"""Published data sets outside the repository, for checks against numbers that others worked out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from customer360.settings import REPOSITORY

VARIABLE = "REFERENCE_DATA"


def reference_data(name: str) -> Path:
    """The folder of a data set, below the one that ``REFERENCE_DATA`` names. Where it is absent the test is skipped."""
    root = Path(os.environ.get(VARIABLE) or REPOSITORY.parent / "shared" / "data")
    folder = root / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: set {VARIABLE} to the folder that holds the data set {name}")
    return folder
