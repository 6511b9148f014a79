"""One setting for the logs of all processes: ``CUSTOMER360_LOG_FORMAT``, ``text`` (the default) or ``json``.

With ``json`` each line is an object with ``timestamp`` (UTC, ISO 8601), ``level``, ``logger`` and ``event``, as in Dagster's
JSON logs; ``exception`` is a traceback, and ``run_id``, ``job_name`` and ``step_key`` are of Dagster's runs.
"""

from __future__ import annotations

import json
import logging
import logging.config
import os
import sys
from datetime import UTC, datetime
from typing import Any

from customer360.settings import SettingsError

VARIABLE = "CUSTOMER360_LOG_FORMAT"
RUN_FIELDS = ("run_id", "job_name", "step_key")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record; values that JSON does not know as text."""
        values: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        run = getattr(record, "dagster_meta", None) or {}
        values |= {name: run[name] for name in RUN_FIELDS if run.get(name)}
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str, ensure_ascii=False)


def is_json() -> bool:
    """Whether logs are JSON. Raises ``SettingsError`` where the variable is neither."""
    given = os.environ.get(VARIABLE, "text")
    if given not in {"text", "json"}:
        raise SettingsError(f"{VARIABLE} is text or json, not {given!r}")
    return given == "json"


def json_logging() -> dict[str, Any] | None:
    """For ``logging.config.dictConfig``: warnings and what this product's servers tell, to stderr. None for text."""
    if not is_json():
        return None
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {"_granian": {"level": "INFO"}, "customer360": {"level": "INFO"}},
    }


def configure() -> None:
    """Have this process log as the setting says."""
    if config := json_logging():
        logging.config.dictConfig(config)


def announce(*lines: str) -> None:
    """What a service says of itself when it starts, on stdout: as it is, or each line as a record."""
    if not is_json():
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    else:
        record = JsonFormatter().format
        for line in (part for text in lines for part in text.splitlines()):
            sys.stdout.write(record(logging.LogRecord("customer360", logging.INFO, "", 0, line, None, None)) + "\n")
    sys.stdout.flush()
