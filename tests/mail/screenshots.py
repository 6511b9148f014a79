"""The pictures of docs/email.md: ``python -m tests.mail.screenshots`` draws each starter at 600 px, and at 320 px when dark."""

from __future__ import annotations

from pathlib import Path

from tests.mail.shown import STARTER_NAMES, starter_page
from tests.support.chromium import chromium

FOLDER = Path("docs/images")

if __name__ == "__main__":
    with chromium() as browser:
        for name in STARTER_NAMES:
            for width, dark in ((600, False), (320, True)):
                page, _ = starter_page(browser, name, width, dark=dark)
                page.screenshot(path=FOLDER / f"email-{name}-{width}.png", full_page=True)
