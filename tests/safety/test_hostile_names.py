"""Categories, attribute values and files named like markup, scripts or SQL are inert in reports, the UI's tables and alerts."""

from __future__ import annotations

import json
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from customer360.services.alerts import Alert, send
from ml.datasets.training_sets import build_training_set
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.training import train
from ml.judging.evaluation import evaluate
from ml.judging.plots import evaluation_plots
from ml.markdown import table
from ml.monitoring.report import TOP_FEATURES, DriftReport, drift_report, model_samples
from ml.monitoring.samples import Sample
from ml.versions.model_store import ModelStore
from tests.ml.published_frames import customer_frame, small_shop, training_frame
from tests.ml.trained_models import NOW, Trained
from tests.support.webhook import webhook

SCRIPT, IMAGE, CLOSING = "<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "</script><script>alert(3)</script>"
LINK, SQL = "![x](https://evil.example/beacon.png) [y](javascript:alert(4))", "x'; drop table customers; --"
TEMPLATE, LONG, LONGER = "{{7*7}}${alert(5)}`alert(6)`\\u003cscript", "<b>" + "long " * 200, "<b>" + "long " * 200 + "2"
FORMULA = r"$\frac{1$ of $x_{"
HOSTILE = (SCRIPT, IMAGE, CLOSING, LINK, SQL, TEMPLATE, LONG, LONGER, FORMULA)
PLAIN = tuple(f"plain {number}" for number in range(len(HOSTILE)))
RAW = ("<script>alert", "<img", "onerror=alert(2)>", "</script><", "`alert", "{{7*7", "${alert", "\\u003c", "<b>long", "x';")


class Tags(HTMLParser):
    """Names of the elements, attributes that are handlers, and what lies inside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self.names and self.names[-1] == "script":
            self.scripts.append(data)


def report_of(categories: tuple[str, ...], regions: tuple[str, ...], folder: Path) -> tuple[DriftReport, str, Trained]:
    """A drift report of a shop with these categories, whose customers live in these regions."""
    shop = small_shop(categories=list(categories))
    rng = np.random.default_rng(5)
    history = training_frame(shop, customers=300, cutoffs=3)
    history["region"] = rng.choice(np.array(regions, dtype=object), len(history))
    training_set = build_training_set(history, shop)
    made = train(training_set, seed=1, threads=2, settings=BoostingSettings(iterations=10))
    trained = Trained(training_set, made, evaluate(training_set, made))
    store = ModelStore(folder / "models")
    trained.save(store, "v1")
    store.promote("affinity", "v1", "first", NOW)
    champion = store.load("affinity", str(store.champion_version("affinity")), training_set.features, training_set.categories)
    current = customer_frame(shop, 400)
    current["region"] = rng.choice(np.array(regions, dtype=object), len(current))
    html = folder / "drift.html"
    visits = pd.Series(rng.choice(np.array(regions, dtype=object), 400))
    report = drift_report(
        [*model_samples(current, history, champion, 0), Sample("24 hours", "utm_medium", visits, visits[::-1])],
        {},
        [],
        report_date=date(2026, 5, 1),
        as_of=current["as_of"].iloc[0],
        model_version="v1",
        html=html,
    )
    return report, html.read_text(encoding="utf-8"), trained


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[DriftReport, str, Trained]:
    return report_of(HOSTILE, HOSTILE, tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[DriftReport, str, Trained]:
    return report_of(PLAIN, PLAIN, tmp_path_factory.mktemp("plain"))


def test_the_drift_report_has_the_same_elements_whatever_the_names_of_categories_and_values(
    hostile: tuple[DriftReport, str, Trained], plain: tuple[DriftReport, str, Trained]
) -> None:
    ours, theirs = Tags(hostile[1]), Tags(plain[1])
    assert ours.names == theirs.names
    assert ours.handlers == theirs.handlers
    assert len(ours.scripts) == len(theirs.scripts) > 0


def test_the_drift_report_holds_no_name_as_markup_not_even_within_its_data(
    hostile: tuple[DriftReport, str, Trained], plain: tuple[DriftReport, str, Trained]
) -> None:
    # Evidently's own page writes some of its data into the document, so nothing in them may be markup either.
    page = hostile[1]
    assert json.dumps("score_‹script›alert(1)‹/script›")[1:-1] in page  # noqa: RUF001
    assert {raw: page.count(raw) - plain[1].count(raw) for raw in RAW if page.count(raw) != plain[1].count(raw)} == {}
    assert "long " * 20 not in page


def test_the_drift_table_keeps_the_true_names_and_one_row_for_each(hostile: tuple[DriftReport, str, Trained]) -> None:
    columns = list(hostile[0].metrics["column"])
    assert [f"score_{name}" for name in HOSTILE] == columns[TOP_FEATURES : TOP_FEATURES + len(HOSTILE)]
    assert len(set(columns)) == len(columns)
    assert hostile[0].metrics["value"].notna().all()


def test_tables_of_the_ui_show_names_as_text(hostile: tuple[DriftReport, str, Trained]) -> None:
    report, _, trained = hostile
    for text in (report.to_markdown(60), trained.evaluation.to_markdown(), table(pd.DataFrame({IMAGE: HOSTILE}))):
        assert "<" not in text
        assert re.search(r"(?<!\\)[\[\]`]", text) is None
        assert max(map(len, text.splitlines())) < 1_000
    cells = table(pd.DataFrame({"name": ["a|b", "x\ny", "R&B", "<b>", "1_000", None]})).splitlines()[2:]
    assert cells == ["| a\\|b |", "| x y |", "| R&amp;B |", "| &lt;b&gt; |", "| 1_000 |", "|  |"]


def test_plots_and_the_text_on_a_model_show_any_name_as_text(
    hostile: tuple[DriftReport, str, Trained],
) -> None:
    _, _, trained = hostile
    assert {picture[:8] for picture in evaluation_plots(trained.evaluation).values()} == {b"\x89PNG\r\n\x1a\n"}
    assert "<" not in trained.evaluation.to_markdown()


@pytest.mark.parametrize("name", [SCRIPT, IMAGE, CLOSING, LINK, "<!channel> @everyone <http://evil.example|click>", LONG])
def test_an_alert_mentions_nobody_and_links_to_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with webhook() as hook:
        send(hook.url, Alert("slice_job", "2026-04-30-16:00", "r", ["raw__clicks"], f"{name}.jsonl is damaged"))
    (document,) = hook.documents
    for text in (document["text"], document["message"]):
        assert not set("<>@[]`") & set(text)
        assert len(text) < 400
