"""``customer360 check <folder>``."""

from __future__ import annotations

import argparse
from pathlib import Path

from customer360.lake.check_report import report_lines
from customer360.lake.checking import check
from customer360.settings import Settings
from orchestration.console import WELL, WRONG, environment_of, now, say, settings_of

EXPECTED = ()


def run(options: argparse.Namespace) -> int:
    """Judge files. A ``shop.yaml`` in the folder or just above it is the shop, unless ``--shop`` says otherwise."""
    settings = _settings(options)
    shop = settings.shop
    file = settings.shop_folder / "shop.yaml"
    file = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    say(
        f"{file} is valid: {shop.name}, {shop.currency}, {shop.time_zone}, {shop.slice_minutes}-minute slices",
        "",
    )
    report = check(settings, options.folder, now(), options.most)
    say(*report_lines(report))
    return WELL if report.is_clean else WRONG


def _settings(options: argparse.Namespace) -> Settings:
    near = [folder for folder in (options.folder, options.folder / "..") if (folder / "shop.yaml").is_file()]
    if options.shop or not near:
        return settings_of(options)
    return Settings.from_environment({**environment_of(options), "SHOP": f"{near[0].resolve()}"})
