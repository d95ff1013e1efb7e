"""Anthropic message batches (https://docs.anthropic.com/en/api/creating-message-batches), every request really answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless import wire
from keyless.anthropic_errors import ANTHROPIC
from keyless.batches import Batches, Item, Job
from keyless.neutral import BadRequest
from keyless.store import Store

MAX_REQUESTS = 100_000


class BatchItem(wire.Loose):
    custom_id: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    params: dict[str, Any]


class BatchRequest(wire.Loose):
    requests: list[BatchItem] = Field(min_length=1, max_length=MAX_REQUESTS)


@dataclass
class AnthropicBatch(Job):
    """A batch of messages; its results are a file of lines."""

    asked: list[BatchItem] = field(default_factory=list, kw_only=True)
    store: Store = field(kw_only=True)
    base_url: str = field(kw_only=True)
    canceled: int = 0

    def read(self) -> None:
        # A batch has no one to stream to.
        self.items = [Item(r.custom_id, "/anthropic/v1/messages", {**r.params, "stream": False}) for r in self.asked]
        self.asked = []

    def write(self) -> None:
        self.canceled = sum(i.status is None for i in self.items)
        text = "".join(json.dumps({"custom_id": i.custom_id, "result": _result(i)}) + "\n" for i in self.items)
        self.store.add(self.id, text.encode(), filename=f"{self.id}.jsonl", purpose="batch_output")

    @property
    def status(self) -> str:
        """Anthropic's name for where the batch is."""
        if self.ended_at is not None:
            return "ended"
        return "in_progress" if self.cancelled_at is None else "canceling"


def _result(item: Item) -> dict[str, Any]:
    if item.status is None:
        return {"type": "canceled"}
    if item.status == 200:
        return {"type": "succeeded", "message": item.body}
    return {"type": "errored", "error": item.body}


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def batch_body(job: AnthropicBatch) -> dict[str, Any]:
    done = job.succeeded + job.errored + job.canceled
    expires = datetime.fromtimestamp(job.created_at, UTC) + timedelta(hours=24)
    return {
        "id": job.id,
        "type": "message_batch",
        "processing_status": job.status,
        "request_counts": {
            "processing": job.total - done,
            "succeeded": job.succeeded,
            "errored": job.errored,
            "canceled": job.canceled,
            "expired": 0,
        },
        "created_at": _time(job.created_at),
        "expires_at": expires.isoformat().replace("+00:00", "Z"),
        "ended_at": _time(job.ended_at),
        "cancel_initiated_at": _time(job.cancelled_at),
        "archived_at": None,
        # The SDK follows this address as it is.
        "results_url": f"{job.base_url}/v1/messages/batches/{job.id}/results" if job.ended_at is not None else None,
    }


def _batches(request: Request) -> Batches:
    return request.app.state.batches


def _find(request: Request) -> AnthropicBatch:
    id = request.path_params["id"]
    job = _batches(request).get(id)
    if not isinstance(job, AnthropicBatch):
        raise BadRequest(f"Message batch not found: {id}", status=404, kind="not_found")
    return job


@wire.adapter(ANTHROPIC, metered=False)
async def create(request: Request) -> Response:
    body = await wire.read(request, BatchRequest)
    ids = [r.custom_id for r in body.requests]
    if len(set(ids)) != len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise BadRequest(f"requests: custom_id {twice!r} is used twice", param="requests")
    job = AnthropicBatch(
        wire.new_id("msgbatch_"),
        total=len(body.requests),
        asked=body.requests,
        store=request.app.state.files,
        base_url=f"{str(request.base_url).rstrip('/')}/anthropic",
    )
    _batches(request).submit(job, wire.key_headers(request))
    return JSONResponse(batch_body(job))


@wire.adapter(ANTHROPIC, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(batch_body(_find(request)))


@wire.adapter(ANTHROPIC, metered=False)
async def cancel(request: Request) -> Response:
    job = _find(request)
    job.cancel()
    return JSONResponse(batch_body(job))


@wire.adapter(ANTHROPIC, metered=False)
async def delete(request: Request) -> Response:
    job = _find(request)
    if job.ended_at is None:
        raise BadRequest(f"Message batch {job.id} cannot be deleted while it is being processed.")
    _batches(request).remove(job.id)
    job.store.remove(job.id)
    return JSONResponse({"id": job.id, "type": "message_batch_deleted"})


@wire.adapter(ANTHROPIC, metered=False)
async def results(request: Request) -> Response:
    job = _find(request)
    if job.ended_at is None:
        raise BadRequest(f"Message batch {job.id} has no results yet.", status=404, kind="not_found")
    try:
        lines = job.store.read(job.id)
    except KeyError:
        raise BadRequest(f"The results of {job.id} are gone.", status=404, kind="not_found") from None
    return Response(lines, media_type="application/x-jsonl")


@wire.adapter(ANTHROPIC, metered=False)
async def list_batches(request: Request) -> Response:
    limit = request.query_params.get("limit", "20")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 1000):
        raise BadRequest("limit: a whole number from 1 to 1000", param="limit")
    jobs = _batches(request).all(AnthropicBatch)
    after = request.query_params.get("after_id")
    ids = [j.id for j in jobs]
    rest = jobs[ids.index(after) + 1 :] if after in ids else jobs
    data = [batch_body(j) for j in rest[: int(limit)]]
    return JSONResponse(
        {
            "data": data,
            "has_more": len(rest) > len(data),
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


routes = [
    Route("/v1/messages/batches", create, methods=["POST"]),
    Route("/v1/messages/batches", list_batches, methods=["GET"]),
    Route("/v1/messages/batches/{id}", get, methods=["GET"]),
    Route("/v1/messages/batches/{id}", delete, methods=["DELETE"]),
    Route("/v1/messages/batches/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/messages/batches/{id}/results", results, methods=["GET"]),
]
