"""A small place as the code of an earlier commit makes it: history, training, slices, a plan that is approved and partly sent.

That code runs in this interpreter, from an export of the commit; the packages that it pins have not changed since. By hand:
``python -m tests.upgrade.earlier_place <empty folder>``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from customer360.settings import REPOSITORY

BEFORE_0_1_0 = "8fc0e46"
SECONDS = 900
SLICES = 1

# Runs in the checkout of the earlier commit, with its own modules. Arguments: the folder of the place, the number of slices.
MAKE = """
import os, sys
from datetime import timedelta
from pathlib import Path
from tests.orchestration.place import TinyShop, prepare
from customer360.campaigns.approval import approve
from customer360.campaigns.drafts import newest_drafts
from customer360.campaigns.sending import send
from customer360.decisions import Request
from customer360.lake.publishing.publishing import current_publication

# Of the five models those that scores and plans are made of.
TRAINED = [["marts", "training_features"], ["predictions", "affinity_model"], ["predictions", "response_model"]]
run = TinyShop.run
TinyShop.run = lambda shop, job, *rest: run(shop, job, *rest, assets=TRAINED if job == "training_job" else ())
place = prepare(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    place.land(number)
    place.run("slice_job", place.key(number)).succeed()
place.run("warehouse_job", place.key(int(sys.argv[2]) - 1)).succeed()
settings = place.settings
as_of = current_publication(settings.place).as_of
day = as_of.astimezone(settings.shop.zone).date()
place.run("daily_job", f"{day:%Y-%m-%d}").succeed()
drafts = newest_drafts(settings.place)
version = drafts.loc[drafts["campaign_id"] == "spring", "plan_version"].iloc[0]
approve(settings, "spring", version, Request("as planned", as_of, "somebody"), as_of)
send(settings, as_of, as_of + timedelta(days=1), "somebody")
place.close()
"""


def has_commit(commit: str) -> bool:
    """Whether the history of this checkout holds a commit; a shallow clone does not."""
    found = subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=REPOSITORY, capture_output=True, check=False)
    return found.returncode == 0


def make_earlier_place(root: Path, commit: str = BEFORE_0_1_0, slices: int = SLICES) -> Path:
    """Make the place below ``root`` by the code of ``commit``; returns its data folder. Its shop is that commit's tiny shop.

    Raises ``RuntimeError`` with the end of the output where that code fails.
    """
    code, place = root / "code", root / "place"
    place.mkdir(parents=True)
    with tempfile.TemporaryFile() as archive:
        subprocess.run(["git", "archive", commit], cwd=REPOSITORY, stdout=archive, check=True)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as files:
            files.extractall(code, filter="data")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "CUSTOMER360_", "DAGSTER_"))}
    made = subprocess.run(
        [sys.executable, "-c", MAKE, str(place), str(slices)],
        cwd=code,
        env={**kept, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(f"the code of {commit} could not make its place:\n{(made.stdout + made.stderr)[-6000:]}")
    return place / "data"


if __name__ == "__main__":
    sys.stdout.write(f"{make_earlier_place(Path(sys.argv[1]))}\n")
