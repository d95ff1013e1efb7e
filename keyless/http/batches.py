"""Batches of requests, worked off in the background as if each had come alone; the APIs of OpenAI, Anthropic and Gemini show them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from keyless.http.journal import Entry

AT_ONCE = 2
"""Requests of batches that run at the same time: half of the engine's slots, so that others are still answered."""
REMEMBERED = 1000

log = logging.getLogger("keyless")


@dataclass
class Item:
    """One request of a batch. ``status`` and ``body`` are its answer, ``None`` as long as there is none."""

    custom_id: str
    path: str
    request: dict[str, Any]
    status: int | None = None
    body: dict[str, Any] | None = None


@dataclass
class Job:
    """A batch. ``items`` are there until it has ended, the counts for ever. Times are seconds since the epoch.

    ``error`` says why nothing could be answered.
    """

    id: str
    items: list[Item] = field(default_factory=list)
    total: int = 0
    succeeded: int = 0
    errored: int = 0
    created_at: float = field(default_factory=time.time)
    began_at: float | None = None
    cancelled_at: float | None = None
    ended_at: float | None = None
    error: str = ""

    def cancel(self) -> None:
        """Start nothing new; what runs is finished."""
        if self.ended_at is None and self.cancelled_at is None:
            self.cancelled_at = time.time()

    def read(self) -> None:
        """Fill ``items``, in a thread of its own, or say in ``error`` why there are none."""

    def write(self) -> None:
        """Keep what the items' answers were; called once, when the last one is there, before the items go."""


J = TypeVar("J", bound=Job)


class Batches:
    """All batches of the server, and what works them off."""

    def __init__(self, app: ASGIApp) -> None:
        """``app`` answers the requests; it is called without HTTP."""
        self._app = app
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    def get(self, kind: type[J], id: str) -> J | None:
        """The batch ``id``, if it is one of the provider whose class is ``kind``."""
        job = self._jobs.get(id)
        return job if isinstance(job, kind) else None

    def all(self, kind: type[J]) -> list[J]:
        """Those of one provider, newest first."""
        return [j for j in reversed(self._jobs.values()) if isinstance(j, kind)]

    def remove(self, id: str) -> None:
        self._jobs.pop(id, None)

    def submit(self, job: Job, headers: dict[str, str]) -> None:
        """Remember ``job`` and work it off, each request with ``headers``, which carry the API key."""
        self._jobs[job.id] = job
        while len(self._jobs) > REMEMBERED:
            self._jobs.popitem(last=False)
        task = asyncio.create_task(self._work(job, headers))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Stop all work."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _work(self, job: Job, headers: dict[str, str]) -> None:
        try:
            await self._answer_all(job, headers)
        except Exception:
            # A client that polls must see an end.
            log.exception("batch %s failed", job.id)
            job.error = "keyless failed on this batch; its log says why."
        job.items = []
        job.ended_at = time.time()

    async def _answer_all(self, job: Job, headers: dict[str, str]) -> None:
        await asyncio.to_thread(job.read)
        job.total = len(job.items)
        transport = httpx.ASGITransport(_as_part_of_a_batch(self._app), raise_app_exceptions=False)
        todo = iter(job.items)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as client:

            async def worker() -> None:
                for item in todo:
                    async with self._room:
                        if job.cancelled_at is not None:
                            return
                        job.began_at = job.began_at or time.time()
                        await _answer(client, item, headers)
                        job.succeeded += item.status == 200
                        job.errored += item.status != 200

            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        job.write()


async def _answer(client: httpx.AsyncClient, item: Item, headers: dict[str, str]) -> None:
    reply = await client.post(
        item.path, content=json.dumps(item.request), headers={**headers, "content-type": "application/json"}
    )
    try:
        item.body = reply.json()
    except ValueError:
        log.error("a batch's request to %s got no JSON: %s", item.path, reply.text[:200])
        item.body = {"error": {"message": "keyless failed on this request; its log says why."}}
    item.status = reply.status_code


def _as_part_of_a_batch(app: ASGIApp) -> ASGIApp:
    """``app`` for requests that nobody sent by HTTP: they are not in the journal and under no quota of their own."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scope["keyless.batch"] = True
        scope["keyless.entry"] = Entry(0, "", scope["method"], scope["path"])
        await app(scope, receive, send)

    return inner
