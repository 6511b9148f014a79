"""Lighthouse 12 on the pages: ``python -m tests.desk.lighthouse [folder]`` on a copy of a demo's place (SHOP, DATA_DIR).

It needs Chromium and a program ``lighthouse`` (``npm install --global lighthouse@12``; 13 needs Node 22), writes a table of
scores, and the reports into the folder where one is named. Exit code 1: a score below 90; 2: it could not run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from customer360.settings import Settings
from tests.desk.desk_server import desk_server
from tests.desk.screenshots import PAGES as SHOWN
from tests.support.chromium import QUIET

PAGES = {**SHOWN, "customers": "/customers/?q=C", "why": "/why/", "reconciliation": "/reconciliation/", "audit": "/audit/"}
CATEGORIES = ("performance", "accessibility", "best-practices")
LEAST = 90
FLAGS = " ".join(f"--{flag}" for flag in ("headless=new", "no-sandbox", "disable-gpu", *QUIET))


def missing() -> str:
    """What this machine lacks, and how to have it; empty where it lacks nothing."""
    needed = {"lighthouse": "npm install --global lighthouse@12", "chromium": "apt-get install chromium"}
    return "; ".join(f"{name} is not installed: {how}" for name, how in needed.items() if shutil.which(name) is None)


def scores(address: str, cookie: str, report: Path) -> dict[str, int]:
    """The score of each category, 0 to 100, of a page in the desktop preset."""
    headers = json.dumps({"Cookie": cookie})
    command = ["lighthouse", address, "--quiet", "--preset=desktop", "--output=json", f"--output-path={report}"]
    command += [f"--only-categories={','.join(CATEGORIES)}", f"--chrome-flags={FLAGS}", f"--extra-headers={headers}"]
    command.append("--blocked-url-patterns=*/checks/")  # Chrome asks for a part without the header, and is sent to the login
    environment = {**os.environ, "CHROME_PATH": shutil.which("chromium") or ""}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    judged = json.loads(report.read_text(encoding="utf-8"))
    if "/login/" in judged["finalDisplayedUrl"]:
        raise RuntimeError(f"{address} led to the login: was a password of this place changed meanwhile?")
    found = judged["categories"]
    return {name: round(100 * (found[name]["score"] or 0)) for name in CATEGORIES}


def signed_in(address: str, name: str, password: str) -> str:
    """The cookies of a session, as a header has them."""
    with httpx.Client(base_url=address, timeout=60) as client:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get("/login/").text)
        fields = {"username": name, "password": password, "csrfmiddlewaretoken": token[1] if token else ""}
        client.post("/login/", data=fields, headers={"Origin": address})
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)


def main() -> int:
    """Print the table."""
    if lacks := missing():
        sys.stderr.write(f"{lacks}\n")
        return 2
    least = 100
    with (
        tempfile.TemporaryDirectory() as scratch,
        desk_server(Settings.from_environment(), Path(scratch) / "log") as (address, commands),
    ):
        made = commands.run("users", "demo").stdout
        password = next(line.split()[1] for line in made.splitlines() if line.split()[0] == "admin")
        cookie = signed_in(address, "admin", password)
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else scratch)
        folder.mkdir(parents=True, exist_ok=True)
        sys.stdout.write(f"| page | {' | '.join(CATEGORIES)} |\n|{'---|' * (len(CATEGORIES) + 1)}\n")
        for name, route in PAGES.items():
            found = scores(address + route, cookie, folder / f"{name}.json")
            least = min(least, *found.values())
            sys.stdout.write(f"| {name} | {' | '.join(map(str, found.values()))} |\n")
            sys.stdout.flush()
    return int(least < LEAST)


if __name__ == "__main__":
    sys.exit(main())
