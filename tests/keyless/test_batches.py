"""What works batches off, without a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from keyless.http.batches import AT_ONCE, Batches, Item, Job


async def _until_ended(job: Job) -> None:
    while job.ended_at is None:
        await asyncio.sleep(0.001)


def test_a_batch_that_breaks_ends_with_an_error():
    @dataclass
    class Broken(Job):
        def read(self) -> None:
            raise OSError("the disk is gone")

    async def main():
        batches = Batches(None)  # type: ignore[arg-type]
        job = Broken("b")
        batches.submit(job, {})
        await _until_ended(job)
        return job

    assert "log says why" in asyncio.run(main()).error


def test_at_most_two_requests_of_all_batches_run_at_once():
    running = most = 0

    async def app(scope, receive, send):
        nonlocal running, most
        assert scope["keyless.batch"] and (b"authorization", b"Bearer me") in scope["headers"]
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        status = 500 if b"bad" in (await receive())["body"] else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    @dataclass
    class Ready(Job):
        def read(self) -> None:
            self.items = [Item(str(i), "/x", {"n": "bad" if i % 5 == 0 else "good"}) for i in range(20)]

    async def main():
        batches = Batches(app)
        jobs = [Ready("a"), Ready("b")]
        for job in jobs:
            batches.submit(job, {"authorization": "Bearer me"})
        await asyncio.gather(*map(_until_ended, jobs))
        return jobs

    for job in asyncio.run(main()):
        assert (job.total, job.succeeded, job.errored, job.items) == (20, 16, 4, [])
    assert most == AT_ONCE
