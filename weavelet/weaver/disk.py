"""The disk under the NATS server's store: whether it is full, and what that leaves behind.

A nats-server that once failed to write to a stream answers no later write to it, also when there is
space again, until it is started anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FULL_BYTES = 1 << 20
"""Free space below which a write can fail at any moment."""
ROOM_BYTES = 4 << 20
"""Free space with which it is worth to begin again."""
PAUSE_SECONDS = 10.0
"""The least time between two new beginnings: a quota may be exceeded on a disk that has room."""

_COMPLAINTS = (b"no space left on device", b"disk quota exceeded")


class Disk:
    """Watches the file system of a store, and what the server writes to its log about it."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._folder = folder
        self._log = log
        self._read = _size(log)
        self._begun: float | None = None
        self.full = False
        """Whether the disk is full, or was, and the server has not begun again since."""

    def look(self, now: float) -> bool:
        """Whether the server should begin again, having met a full disk that has room now."""
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return False
        if self._complained() or free < FULL_BYTES:
            self.full = True
        recent = self._begun is not None and now - self._begun < PAUSE_SECONDS
        return self.full and free >= ROOM_BYTES and not recent

    def begun(self, now: float) -> None:
        """The server has begun again."""
        self.full = False
        self._begun = now

    def _complained(self) -> bool:
        size = _size(self._log)
        begin = self._read if size >= self._read else 0  # smaller: the server began a new file
        self._read = size
        if size == begin:
            return False
        try:
            with self._log.open("rb") as file:
                file.seek(begin)
                said = file.read(size - begin)
        except OSError:
            return False
        return any(complaint in said for complaint in _COMPLAINTS)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
