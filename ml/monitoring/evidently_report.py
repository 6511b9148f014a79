"""The HTML report: Evidently's distances and plots, with every markup character removed from a shop's names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from customer360.text import without_markup
from ml.monitoring.samples import JENSEN_SHANNON, WASSERSTEIN, Sample

LONGEST_NAME = 80


def write_report(samples: Sequence[Sample], limits: Mapping[str, float], html: Path) -> dict[str, float]:
    """Write ``html`` and return each sample's distance by its title. ``limits``: thresholds by title.

    ValueDrift by column takes half the time of DataDriftPreset, which measures everything twice.
    """
    with warnings.catch_warnings():
        # Importing evidently 0.7.23 warns of numpy.core and of litestar's Dependency, both used by evidently itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        # 5 CPU seconds to import: only where a report is made.
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415  see above
        from evidently.metrics import ValueDrift  # noqa: PLC0415  see above
    shown = _names_without_markup([sample.title for sample in samples])
    methods = {shown[sample.title]: sample.method for sample in samples}
    current, reference = (
        _values_without_markup(pd.DataFrame({shown[sample.title]: getattr(sample, side) for sample in samples}), methods)
        for side in ("current", "reference")
    )
    definition = DataDefinition(
        numerical_columns=[column for column, method in methods.items() if method == WASSERSTEIN],
        categorical_columns=[column for column, method in methods.items() if method == JENSEN_SHANNON],
    )
    drifts = [ValueDrift(column=shown[title], method=methods[shown[title]], threshold=limits[title]) for title in shown]
    snapshot = Report(drifts, include_tests=True).run(
        Dataset.from_pandas(current, data_definition=definition), Dataset.from_pandas(reference, data_definition=definition)
    )
    html.parent.mkdir(parents=True, exist_ok=True)
    draft = html.with_name(f".tmp-{os.getpid()}-{html.name}")
    snapshot.save_html(str(draft))
    draft.replace(html)
    values = {metric["config"]["column"]: float(metric["value"]) for metric in snapshot.dict()["metrics"]}
    return {title: values[column] for title, column in shown.items()}


def _names_without_markup(names: Iterable[str]) -> dict[str, str]:
    """The names as Evidently may write them, which puts them into a script as they are: ``</script>`` would end it. Unique."""
    shown: dict[str, str] = {}
    for name in names:
        text, number = without_markup(name, LONGEST_NAME), 1
        while text in shown.values():
            number += 1
            text = f"{without_markup(name, LONGEST_NAME)} ({number})"
        shown[name] = text
    return shown


def _values_without_markup(frame: pd.DataFrame, methods: Mapping[str, str]) -> pd.DataFrame:
    """The frame with texts without markup. Values that differ in markup alone, or after 80 characters, become one."""
    texts = [column for column in frame.columns if methods[column] == JENSEN_SHANNON]
    return frame.assign(
        **{
            column: frame[column].map(lambda text: without_markup(str(text), LONGEST_NAME), na_action="ignore")
            for column in texts
        }
    )
