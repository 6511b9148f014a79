"""``make demo``: a shop's files made or converted, then ``customer360 start`` on them, then a longer report."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from customer360.errors import OperatorError
from customer360.lake.operations.clock import shop_now
from customer360.settings import Settings, SettingsError
from orchestration.progress_display import Display
from orchestration.start import start_place

SINGLE_SLICES = 4
HOLDS_DATA = ("landing", "raw", "warehouse.duckdb", "models", "plans", "published")


def main() -> None:
    """Run the demo for the shop of this environment. Ends with exit code 1 and a clear line when a stage fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, help="folder of the shop's published files, where it needs some")
    options = parser.parse_args()
    display = Display(sys.stdout)
    try:
        settings = Settings.from_environment()
        write_landing = _landing_writer(settings, options.source)
        _require_empty(settings)
        with display.stage("making the shop's files"):
            written = write_landing()
            display.say("   " + ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in written.items()))
        code = start_place(settings, display, datetime.now(UTC), has_check=False, single_slices=SINGLE_SLICES)
    except OperatorError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted")
    if code:
        sys.exit(code)
    from orchestration.demo_mail import mail_first_day, mailed_text
    from orchestration.demo_report import report

    settings, now = Settings.from_environment(), datetime.now(UTC)
    with display.stage("mailing the first planned day to a server of this machine"):
        mailed = mail_first_day(settings, now, shop_now(settings, now))
    display.say(report(settings, display.seconds, mailed_text(mailed) if mailed else ""))


def _require_empty(settings: Settings) -> None:
    """Empty the place of an earlier demo. Raises ``SettingsError`` where the place holds data that no demo made."""
    root = settings.place.root
    marker = root / "demo"
    if marker.exists():
        shutil.rmtree(root)
    elif any((root / name).exists() for name in HOLDS_DATA):
        raise SettingsError(f"{root} holds data that no demo made; name another place with DATA_DIR=...")
    root.mkdir(parents=True, exist_ok=True)
    marker.write_text(settings.shop.name + "\n", encoding="utf-8")


def _landing_writer(settings: Settings, source: Path | None) -> Callable[[], Mapping[str, int]]:
    """The function that fills landing: the shop's adapter, with the folder of its ``SOURCE_FILES`` where it has any."""
    shop = settings.shop
    if shop.adapter is None:
        raise SettingsError(f"{settings.shop_folder}/shop.yaml names no adapter, so there is nothing that could fill landing/")
    if shop.landing_url:
        raise SettingsError(f"{settings.shop_folder}/shop.yaml has landing in {shop.landing_url}; a demo lands in a folder")
    adapter = importlib.import_module(f"customer360.adapters.{shop.adapter}")
    needed = getattr(adapter, "SOURCE_FILES", ())
    if not needed:
        if source is not None:
            raise SettingsError(f"SHOP={shop.name} brings its own data and reads nothing from {source}; leave FROM away")
        return partial(adapter.write_landing, shop, settings.place)
    if source is None:
        raise SettingsError(
            f"SHOP={shop.name} is made of published files: make demo SHOP={shop.name} FROM=<the folder of {', '.join(needed)}>"
        )
    if missing := [name for name in needed if not (source / name).is_file()]:
        problem = f"lacks {', '.join(missing)}" if source.is_dir() else "is not a folder"
        raise SettingsError(f"{source} {problem}; FROM=<folder> is to name one that holds {', '.join(needed)}")
    return partial(adapter.write_landing, shop, settings.place, source)


if __name__ == "__main__":
    main()
