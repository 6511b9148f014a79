"""Where a shop's files and its data lie, from the environment variables ``SHOP`` and ``DATA_DIR``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from customer360.settings.fields import Strict
from customer360.settings.loading import load_shop
from customer360.settings.shop import Shop

REPOSITORY = Path(__file__).resolve().parents[2]


class _Below:
    """A path of a place, by its parts below the root."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __get__(self, place: Place, owner: type[Place]) -> Path:
        return place.root.joinpath(*self.parts)


class Place(Strict):
    """Where one shop's data lie. Every path of the product comes from here; see ``docs/your-data.md``."""

    root: Path

    landing: ClassVar = _Below("landing")  # files as producers wrote them
    raw: ClassVar = _Below("raw")  # validated slices and reference versions as Parquet
    quarantine: ClassVar = _Below("quarantine")  # lines and files that break the contract, with their reasons
    warehouse: ClassVar = _Below("warehouse.duckdb")  # the DuckDB file that only runs may open
    models: ClassVar = _Below("models")  # model versions and champion pointers
    plans: ClassVar = _Below("plans")  # campaign plans, one folder a plan
    campaigns: ClassVar = _Below("campaigns")  # the campaign ledger, approved plans and the outbox
    recommendations: ClassVar = _Below("recommendations")  # product_affinity, as of the newest day
    lifetime: ClassVar = _Below("lifetime")  # customer_lifetime and lifetime_backtest, as of the newest day
    mail: ClassVar = _Below("mail")  # the mail queue, the log of its transport, and the keys of links and addresses
    offers: ClassVar = _Below("offers")  # what the offers brought, and the policy that serves, as of the newest day
    reports: ClassVar = _Below("reports")  # drift reports and plots
    serving: ClassVar = _Below("serving")  # the services' store, their keys and the collector's spool
    desk: ClassVar = _Below("desk")  # the desk's own database and key, and the campaign files that were written in it
    published: ClassVar = _Below("published")  # versions for readers; ``current`` points at the newest
    categories_file: ClassVar = _Below("raw", "categories.json")  # the resolved "top K" categories, frozen once known
    dbt_target: ClassVar = _Below("dbt")  # dbt's manifest, logs and compiled SQL
    scratch: ClassVar = _Below(".tmp")  # what connections spill, and files that a process makes and removes


class Settings(Strict):
    """One shop and its place."""

    shop: Shop
    place: Place
    shop_folder: Path

    @property
    def campaign_folder(self) -> Path:
        """Where the shop's campaign files lie."""
        return self.shop_folder / "campaigns"

    @property
    def made_campaign_folder(self) -> Path:
        """Where campaign files lie that people made in the desk."""
        return self.place.campaigns / "definitions"

    @property
    def message_folder(self) -> Path:
        """Where the shop's messages lie, a folder each."""
        return self.shop_folder / "messages"

    @property
    def made_message_folder(self) -> Path:
        """Where messages lie that people made in the desk."""
        return self.place.campaigns / "messages"

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Settings:
        """``SHOP`` (folder under ``shops/``, or a path; default ``synthetic``) and ``DATA_DIR`` (default ``./data``)."""
        values = dict(os.environ) if environment is None else environment
        name = values.get("SHOP") or "synthetic"
        folder = Path(name).absolute() if "/" in name or name == "." else REPOSITORY / "shops" / name
        return cls.load(folder, cls.place_from(values).root)

    @staticmethod
    def place_from(environment: Mapping[str, str]) -> Place:
        """The place that ``DATA_DIR`` names; default ``./data``."""
        return Place(root=Path(environment.get("DATA_DIR") or REPOSITORY / "data").resolve())

    @classmethod
    def load(cls, shop_folder: Path, data_dir: Path) -> Settings:
        """Settings of the shop in ``shop_folder``, with its data in ``data_dir``."""
        place = Place(root=data_dir)
        return cls(
            shop=load_shop(shop_folder / "shop.yaml", read_resolved_categories(place)),
            place=place,
            shop_folder=shop_folder,
        )


def read_resolved_categories(place: Place) -> list[str] | None:
    """The frozen "top K" categories of a place, or None before they were resolved."""
    if not place.categories_file.exists():
        return None
    categories = json.loads(place.categories_file.read_text(encoding="utf-8"))["categories"]
    return [str(category) for category in categories]
