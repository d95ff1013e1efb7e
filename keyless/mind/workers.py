"""Threads for what computes, so that the event loop stays free, and the way back from them to the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Abandoned(Exception):
    """Nobody waits for this work any more."""


class Desk:
    """What a thread at work has of the event loop: it can ask for something and wait, as long as somebody waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = threading.Event()
        self._asked: concurrent.futures.Future[Any] | None = None

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns, done by the event loop. Raises ``Abandoned``."""
        if self._left.is_set():
            work.close()
            raise Abandoned
        self._asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self._left.is_set():
            self._asked.cancel()
        try:
            return self._asked.result()
        except concurrent.futures.CancelledError:
            raise Abandoned from None

    def leave(self) -> None:
        """Nobody waits any more: what the thread has asked for is cancelled, and it can ask for nothing else."""
        self._left.set()
        if self._asked is not None:
            self._asked.cancel()


class Workers:
    """``count`` threads; further work waits in the order in which it came."""

    def __init__(self, count: int) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix="keyless-mind")

    async def run(self, work: Callable[[Desk], T]) -> T:
        """What ``work`` returns. Being cancelled makes its ``Desk`` be left."""
        loop = asyncio.get_running_loop()
        desk = Desk(loop)
        try:
            return await loop.run_in_executor(self._pool, work, desk)
        finally:
            desk.leave()

    def close(self) -> None:
        """Start nothing new; what runs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
