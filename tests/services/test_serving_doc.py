"""What docs/serving.md shows runs, and gives what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from customer360.settings import REPOSITORY

PAGE = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("language", "command"), [("python", [sys.executable, "-c"]), ("javascript", ["node", "-e"])])
def test_a_shop_signs_a_customer_as_the_page_shows(language: str, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (signing,) = [block for block in blocks(language) if "hmac.new" in block or "createHmac" in block]
    printed = subprocess.run([*command, signing], capture_output=True, text=True, check=True).stdout.strip()
    assert printed in re.findall(r"^Both print `(.*)`\.$", PAGE, re.MULTILINE)
