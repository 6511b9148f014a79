"""Reads ``shop.yaml``; each fault is a line with the setting, what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from customer360.settings.fields import SettingsError, Strict
from customer360.settings.shop import Shop
from customer360.text import nearest


def load_shop(path: Path, resolved_categories: list[str] | None = None) -> Shop:
    """Read and validate one ``shop.yaml``.

    Raises ``SettingsError`` naming the file, the field, what is wrong and what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path} line {line} is not UTF-8; save the file in UTF-8") from error
    except FileNotFoundError as error:
        known = sorted(p.parent.name for p in path.parents[1].glob("*/shop.yaml"))
        raise SettingsError(f"{path} does not exist; the shops here are: {', '.join(known) or 'none'}") from error
    return _validated(path, text, None if resolved_categories is None else tuple(resolved_categories))


@lru_cache(maxsize=16)
def _validated(path: Path, text: str, resolved_categories: tuple[str, ...] | None) -> Shop:
    """Parsing takes 50 ms, and a run needs the shop about 20 times."""
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}{_yaml_fault(error)}") from error
    if not isinstance(loaded, dict):
        raise SettingsError(f"{path} holds no settings; see docs/your-data.md for an example")
    resolved = None if resolved_categories is None else list(resolved_categories)
    values: dict[str, Any] = {**loaded, "resolved_categories": resolved}
    try:
        return Shop.model_validate(values)
    except ValidationError as error:
        lines = dict.fromkeys(f"  {line}" for line in setting_faults(error))
        raise SettingsError(f"{path} is not a valid shop:\n" + "\n".join(lines) + "\nSee docs/your-data.md.") from error


def _yaml_fault(error: yaml.YAMLError) -> str:
    """The line that is not YAML, and the remedy, for the end of a sentence that begins with the file."""
    mark, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", ""))
    where = f" line {mark.line + 1}" if mark else ""
    if "\\t" in problem:
        return f"{where} is not valid YAML: it is indented by a tab; use blanks"
    if "mapping values" in problem:
        return f"{where} is not valid YAML: quote a text that holds a colon, or end the line before it"
    return f"{where} is not valid YAML: close every quote and bracket, indent alike, and quote texts with : # {{ }} [ ] & * ! %"


def setting_faults(error: ValidationError) -> Iterator[str]:
    """One line for each fault: the setting, and what is wrong in words of this product."""
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"] if not _is_of_a_union(part)) or "(whole file)"
        if fault["type"] == "extra_forbidden":
            near = nearest(str(fault["loc"][-1]), {name for model in Strict.__subclasses__() for name in model.model_fields})
            yield f"{place}: there is no such setting" + (f" (did you mean {near}?)" if near else "")
        elif fault["type"] == "missing":
            yield f"{place}: it is missing"
        elif fault["type"] not in {"string_type", "list_type"} or len(fault["loc"]) == 1:
            yield f"{place}: {fault['msg'].removeprefix('Value error, ').replace('Input should be', 'it must be')}"


def _is_of_a_union(part: int | str) -> bool:
    """True for what names one of several types that a setting may have."""
    return isinstance(part, str) and ("[" in part or part in {"str", "TopCategories", "ColumnRule"})
