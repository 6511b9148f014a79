"""What is dear to make and does not change is made once in a process, by whoever asks first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values by a key that names all they depend on; the ``most`` that were used last stay. Safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._futures: OrderedDict[Hashable, Future[Value]] = OrderedDict()

    def of(self, key: Hashable, make: Callable[[], Value], is_kept: Callable[[Value], bool] = lambda _: True) -> Value:
        """The value of a key. Who asks while another makes it waits for it, and shares its error: change a copy of it."""
        with self._lock:
            known = self._futures.get(key)
            made: Future[Value] = known or Future()
            self._futures[key] = made
            self._futures.move_to_end(key)
            if len(self._futures) > self._most:
                self._futures.popitem(last=False)
        if known is None:
            try:
                value = make()
            except BaseException as error:
                self._forget(key)
                made.set_exception(error)
                raise
            if not is_kept(value):
                self._forget(key)
            made.set_result(value)
        return made.result()

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._futures.pop(key, None)


def file_state(file: Path) -> tuple[str, int, int, int]:
    """What tells a file that is only replaced by rename from the one that it replaces; its hard links are the same."""
    status = file.stat()
    return file.name, status.st_ino, status.st_mtime_ns, status.st_size
