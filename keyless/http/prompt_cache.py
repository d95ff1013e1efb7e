"""The accounting of prompt caching: which beginning of a prompt was sent before, within its time to live.

Nothing is computed less for it; it is what a provider would put on the bill that is told.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REMEMBERED = 10_000
MIN_TOKENS = 1024
"""A shorter beginning is not cached, as with Anthropic's Sonnet models."""


TTL = {"5m": 300, "1h": 3600}
"""Seconds, by the names that clients give them."""


@dataclass(frozen=True)
class Block:
    """A piece of a prompt, in the order in which the model reads them: as it was sent, its text, and its mark if it has one."""

    sent: Any
    text: str
    ttl: str | None = None


@dataclass(frozen=True)
class Breakpoint:
    """The beginning of a prompt up to a place that the client marked. ``ttl`` is in seconds."""

    prefix: str
    tokens: int
    ttl: int


@dataclass(frozen=True)
class Cached:
    """Tokens of a prompt that were read from the cache, and that were written to it for 5 minutes or for an hour."""

    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def written(self) -> int:
        return self.written_5m + self.written_1h


NOT_CACHED = Cached()


class PromptCache:
    """Beginnings of prompts, by account, until they expire; each use starts the time anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def use(self, account: str, model: str, breakpoints: list[Breakpoint]) -> Cached:
        """What of a prompt with these ``breakpoints``, in order, is cached; from now on all of them are."""
        now = self._clock()
        marks = [b for b in breakpoints if b.tokens >= MIN_TOKENS]
        names = [_name(account, model, b.prefix) for b in marks]
        known = [b.tokens for b, name in zip(marks, names, strict=True) if self._until.get(name, 0.0) > now]
        read = max(known, default=0)
        written = {300: 0, 3600: 0}
        done = read
        for mark, name in zip(marks, names, strict=True):
            written[mark.ttl] += max(0, mark.tokens - done)
            done = max(done, mark.tokens)
            self._until[name] = now + mark.ttl
            self._until.move_to_end(name)
        while len(self._until) > REMEMBERED:
            self._until.popitem(last=False)
        return Cached(read, written[300], written[3600])


def _name(account: str, model: str, prefix: str) -> str:
    return hashlib.sha256("\0".join((account, model, prefix)).encode()).hexdigest()


def marked(blocks: list[Block]) -> list[tuple[str, str, int]]:
    """For each marked block the name of the prompt so far, its text so far, and the time to live in seconds."""
    found: list[tuple[str, str, int]] = []
    state = hashlib.sha256()
    text: list[str] = []
    for block in blocks:
        state.update(json.dumps(block.sent, sort_keys=True).encode() + b"\n")
        text.append(block.text)
        if block.ttl is not None:
            found.append((state.hexdigest(), "\n".join(text), TTL[block.ttl]))
    return found
