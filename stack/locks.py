"""Locks between processes. The kernel keeps them, so one ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# `struct flock`: type, whence, start, length, pid; macOS has another order.
_LAYOUT, _TYPE, _PID = ("qqihh", 3, 2) if sys.platform == "darwin" else ("hhqqi0q", 0, 4)


@cache
def _descriptor(path: Path) -> int:
    # Opened once and never closed: a process loses its POSIX locks on a file as soon as it closes any descriptor of it.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Lock:
    """A POSIX lock on ``path``, which stays there. Forked children do not inherit it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def holder(self) -> int | None:
        """The id of another process that holds the lock in whichever way, or ``None``. Takes no lock itself."""
        if not self.path.exists():
            return None
        fields = [0] * 5
        fields[_TYPE] = fcntl.F_WRLCK
        asked = fcntl.fcntl(_descriptor(self.path), fcntl.F_GETLK, struct.pack(_LAYOUT, *fields))
        found = struct.unpack(_LAYOUT, asked)
        return None if found[_TYPE] == fcntl.F_UNLCK else found[_PID]

    def share(self) -> None:
        """Hold it together with others that share it; waits for one that holds it alone."""
        fcntl.lockf(_descriptor(self.path), fcntl.LOCK_SH)

    def take(self, *, wait: bool) -> bool:
        """Hold it alone; without ``wait``, ``False`` when another process has it."""
        try:
            fcntl.lockf(_descriptor(self.path), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self) -> None:
        """Hold it no longer."""
        fcntl.lockf(_descriptor(self.path), fcntl.LOCK_UN)

    @property
    def note(self) -> str:
        """What the lock's file says; only for a holder, as it is read without opening the file again."""
        return os.pread(_descriptor(self.path), 4096, 0).decode()

    @note.setter
    def note(self, text: str) -> None:
        os.ftruncate(_descriptor(self.path), 0)
        os.pwrite(_descriptor(self.path), text.encode(), 0)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold it alone for the time of the block; waits for it."""
        self.take(wait=True)
        try:
            yield
        finally:
            self.release()
