"""Clients that leave: work for them is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from keyless.http.context import entry
from keyless.neutral import BadRequest

T = TypeVar("T")


class Gone(BadRequest):
    """The client has left; nobody reads the answer."""

    def __init__(self) -> None:
        super().__init__("The client left before it had its answer.", status=499)


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """``work``'s result. Raises ``Gone`` when the client left first, in which case ``work`` is cancelled."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        entry(request).close(499)
        raise Gone
    finally:
        for future in (task, gone):
            future.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
