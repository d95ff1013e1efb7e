"""Threads for what computes, so that the event loop stays free, and the way back from them to the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_THREADS = 128
"""More than compute at once: those that wait for the event loop do not count."""


class Abandoned(Exception):
    """Nobody waits for this work any more."""


class Desk:
    """What a thread at work has of the event loop: it can ask for something and wait, as long as its client does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: threading.Semaphore) -> None:
        self._loop = loop
        self._turn = turn
        self._abandoned = threading.Event()
        self._asked: concurrent.futures.Future[Any] | None = None

    def check(self) -> None:
        """Raises ``Abandoned`` when nobody waits any more."""
        if self._abandoned.is_set():
            raise Abandoned

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns, done by the event loop; others compute meanwhile. Raises ``Abandoned``."""
        if self._abandoned.is_set():
            work.close()
            raise Abandoned
        asked = self._asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self._abandoned.is_set():
            # It happened after the first look, and so before there was anything to cancel.
            asked.cancel()
        self._turn.release()
        try:
            return asked.result()
        except concurrent.futures.CancelledError:
            raise Abandoned from None
        finally:
            self._turn.acquire()

    def abandon(self) -> None:
        """Nobody waits any more: what was asked for is cancelled, and the next ``check`` or ``ask`` raises."""
        self._abandoned.set()
        if self._asked is not None:
            self._asked.cancel()


_here = threading.local()


def check() -> None:
    """To be called now and then by what computes for long: raises ``Abandoned`` when its client has left."""
    desk: Desk | None = getattr(_here, "desk", None)
    if desk is not None:
        desk.check()


class Workers:
    """Threads of which ``count`` compute at once."""

    def __init__(self, count: int) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="keyless-mind")
        self._turn = threading.Semaphore(count)
        self._desks: weakref.WeakSet[Desk] = weakref.WeakSet()

    async def run(self, work: Callable[[Desk], T]) -> T:
        """What ``work`` returns. When this is cancelled, its ``Desk`` is abandoned."""
        loop = asyncio.get_running_loop()
        desk = Desk(loop, self._turn)
        self._desks.add(desk)
        try:
            return await loop.run_in_executor(self._pool, self._work, work, desk)
        finally:
            desk.abandon()

    def _work(self, work: Callable[[Desk], T], desk: Desk) -> T:
        with self._turn:
            desk.check()
            _here.desk = desk
            try:
                return work(desk)
            finally:
                _here.desk = None

    def close(self) -> None:
        """Start nothing new, and abandon what runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for desk in list(self._desks):
            desk.abandon()
