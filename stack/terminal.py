"""What the reader sees, apart from what libraries print."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TextIO

from stack.settings import StackError


class Terminal:
    """The reader's terminal, while everything that libraries print goes to a log file."""

    def __init__(self, log: Path) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        self.is_tty = self._out.isatty()
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        sys.stdout.flush()
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)

    def say(self, text: str) -> None:
        """One line, at once."""
        self._out.write(text + "\n")
        self._out.flush()

    def failed(self, error: Exception, log: Path) -> None:
        """What the reader can mend is said in its own sentence; anything else is ours, and its traceback goes to the log."""
        if isinstance(error, StackError):
            self.say(str(error))
        else:
            traceback.print_exception(error)
            self.say(f"{type(error).__name__}: {error} (the traceback is in {log})")

    @property
    def file(self) -> TextIO:
        """For libraries that draw by themselves."""
        return self._out
