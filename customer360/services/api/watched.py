"""Files that a worker follows while it serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")
SECONDS_BETWEEN_LOOKS = 1


class WatchedFile(Generic[Content]):
    """What ``read`` makes of a file: made again when the file has changed, which is looked at once a second."""

    def __init__(self, file: Path, read: Callable[[Path], Content]) -> None:
        self._file = file
        self._read = read
        self._content: Content
        self._state: tuple[int, int] | None = None
        self._next_look = 0.0

    def content(self, monotonic: float) -> Content:
        """The content as of the last look. Raises what ``read`` raises, at each call until the file can be read."""
        if monotonic >= self._next_look:
            try:
                status = self._file.stat()
                state = (status.st_mtime_ns, status.st_ino)
            except FileNotFoundError:
                state = (0, 0)
            if state != self._state:
                self._content = self._read(self._file)
            self._state, self._next_look = state, monotonic + SECONDS_BETWEEN_LOOKS
        return self._content
