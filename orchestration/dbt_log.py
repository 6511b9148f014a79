"""What dbt says in a run: all of it in a file, what matters on standard output, and in neither a value of a row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from customer360.lake.discretion import without_values

SEE = "customer360 dbt build --select <the model> shows it"
SHOWN = {"info", "warn", "error"}


@contextmanager
def dbt_log(target: Path) -> Iterator[Callable[[Any], None]]:
    """A callback for the events of dbt and its threads, which writes ``dbt.log`` in ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    lock = Lock()
    with (target / "dbt.log").open("a", encoding="utf-8", buffering=1) as file:

        def hear(message: Any) -> None:
            said = without_values(message.info.msg, SEE)
            at = message.info.ts.ToJsonString()
            with lock:
                file.write(f"{at} [{message.info.level:<5}] {message.info.thread}: {said}\n")
                if said and message.info.level in SHOWN:
                    sys.stdout.write(f"{at[11:19]}  {said}\n")

        yield hear
