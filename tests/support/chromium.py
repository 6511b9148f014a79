"""Debian's Chromium for tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

QUIET = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser; the test is skipped where none is installed."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        options = [f"--{option}" for option in ("no-sandbox", "disable-gpu", *QUIET)]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            browser.close()
