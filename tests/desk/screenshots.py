"""The pictures of docs/desk.md: ``python -m tests.desk.screenshots`` on a copy of a demo's place, as SHOP and DATA_DIR say."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from customer360.settings import REPOSITORY, Settings
from tests.desk.desk_server import desk_server
from tests.support.chromium import chromium

PAGES = {
    "today": "/",
    "audiences": "/audiences/?text=segment+%3D+%27Champions%27",
    "campaigns": "/campaigns/",
    "segments": "/segments/",
    "activity": "/activity/",
    "offers": "/offers/",
    "recommendations": "/recommendations/",
    "models": "/models/",
    "email": "/email/",
    "message": "/messages/win_back/",
}
SIZE = {"width": 1280, "height": 1000}
COLORS = 128  # a third of the bytes


def main() -> None:
    """Write docs/images/desk-<page>.png, in the light scheme but for the first."""
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder, desk_server(settings, Path(folder) / "log") as (address, commands):
        made = commands.run("users", "demo").stdout
        password = next(line.split()[1] for line in made.splitlines() if line.split()[0] == "admin")
        with chromium() as browser:
            for number, (name, route) in enumerate(PAGES.items()):
                context = browser.new_context(base_url=address, viewport=SIZE, color_scheme="light" if number else "dark")
                page = context.new_page()
                page.goto("/login/?next=" + "/health/")
                page.fill("#id_username", "admin")
                page.fill("#id_password", password)
                page.click("main button[type=submit]")
                page.goto(route)
                page.wait_for_timeout(1000)  # the parts that htmx asks for
                picture = REPOSITORY / "docs" / "images" / f"desk-{name}.png"
                page.screenshot(path=picture)
                Image.open(picture).convert("RGB").quantize(COLORS).save(picture, optimize=True)
                context.close()
    sys.stdout.write(f"{len(PAGES)} pictures in docs/images\n")


if __name__ == "__main__":
    main()
