"""``customer360 check <folder or URL>``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from customer360.lake.checking.check import check
from customer360.lake.checking.report import report_lines
from customer360.lake.object_store import StoreError
from customer360.lake.publishing.store_copy import local_copy
from customer360.settings import Settings
from orchestration.console import WELL, WRONG, environment_of, now, say, settings_of

EXPECTED = (StoreError,)


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
    with _readable(settings, options.folder) as folder:
        report = check(settings, folder, now(), options.most)
    say(*report_lines(report))
    return WELL if report.is_clean else WRONG


@contextmanager
def _readable(settings: Settings, folder: Path | str) -> Iterator[Path]:
    """The folder, or what lies at a URL as one."""
    if isinstance(folder, Path):
        yield folder
        return
    with local_copy(settings, folder) as copied:
        yield copied


def _settings(options: argparse.Namespace) -> Settings:
    if isinstance(options.folder, str):
        return settings_of(options)
    near = [folder for folder in (options.folder, options.folder / "..") if (folder / "shop.yaml").is_file()]
    if options.shop or not near:
        return settings_of(options)
    return Settings.from_environment({**environment_of(options), "SHOP": f"{near[0].resolve()}"})
