"""``customer360 check <folder or URL>``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.console import WELL, WRONG, Invocation, JsonOption, answer, now

if TYPE_CHECKING:
    from customer360.settings import Settings


def check(
    invocation: Invocation,
    folder: Annotated[
        str,
        typer.Argument(
            help="A landing folder, a part of it, any folder with click files, or s3://bucket/... in the shop's store."
        ),
    ],
    most: Annotated[int, typer.Option(min=0, metavar="N", help="Problems shown per file.")] = 10,
    as_json: JsonOption = False,
) -> int:
    """Judge files by the contracts before anything runs.

    Writes nothing. A shop.yaml in the folder or just above it is the shop, unless --shop names another.
    """
    from customer360.lake.checking.check import check as check_files
    from customer360.lake.checking.report import report_lines

    settings = _settings(invocation, folder)
    with _readable(settings, folder) as readable:
        report = check_files(settings, readable, now(), most)
    shop, file = settings.shop, settings.shop_folder / "shop.yaml"
    file = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    title = f"{file} is valid: {shop.name}, {shop.currency}, {shop.time_zone}, {shop.slice_minutes}-minute slices"
    answer(as_json, report, [title, "", *report_lines(report)])
    return WELL if report.is_clean else WRONG


@contextmanager
def _readable(settings: Settings, folder: str) -> Iterator[Path]:
    """The folder, or a copy of what lies at a URL."""
    from customer360.lake.publishing.store_copy import local_copy

    if not folder.startswith("s3://"):
        yield Path(folder)
        return
    with local_copy(settings, folder) as copied:
        yield copied


def _settings(invocation: Invocation, folder: str) -> Settings:
    candidates = [] if invocation.shop or folder.startswith("s3://") else [Path(folder), Path(folder) / ".."]
    near = [candidate for candidate in candidates if (candidate / "shop.yaml").is_file()]
    return (replace(invocation, shop=f"{near[0].resolve()}") if near else invocation).settings
