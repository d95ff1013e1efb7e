"""Files that clients send and get back: kept on disk for as long as the server runs, the oldest dropped when it is too much."""

from __future__ import annotations

import tempfile
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

MAX_BYTES = 1024**3
MAX_FILES = 10_000


@dataclass(frozen=True)
class Stored:
    """A file; ``size`` is in bytes, ``created_at`` in seconds since the epoch."""

    id: str
    filename: str
    purpose: str
    media_type: str
    size: int
    created_at: int = field(default_factory=lambda: int(time.time()))


class Store:
    """Files by id. ``close`` deletes them all."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="keyless-")
        self._files: OrderedDict[str, Stored] = OrderedDict()
        self._max_bytes = max_bytes
        self._max_files = max_files

    def close(self) -> None:
        self._folder.cleanup()

    def add(self, id: str, content: bytes, *, filename: str, purpose: str, media_type: str = "") -> Stored:
        """Keep ``content`` under ``id``, and drop the oldest files if there is no room."""
        stored = Stored(id, filename, purpose, media_type, len(content))
        self._path(id).write_bytes(content)
        self._files[id] = stored
        while len(self._files) > self._max_files or sum(f.size for f in self._files.values()) > self._max_bytes:
            self.remove(next(iter(self._files)))
        return stored

    def get(self, id: str) -> Stored | None:
        return self._files.get(id)

    def read(self, id: str) -> bytes:
        """Raises ``KeyError`` when there is no such file."""
        return self._path(self._files[id].id).read_bytes()

    def remove(self, id: str) -> bool:
        """Whether there was such a file."""
        if self._files.pop(id, None) is None:
            return False
        self._path(id).unlink(missing_ok=True)
        return True

    def all(self) -> list[Stored]:
        """Newest first."""
        return list(reversed(self._files.values()))

    def _path(self, id: str) -> Path:
        # Ids are our own: no client's text gets into a path.
        return Path(self._folder.name) / id
