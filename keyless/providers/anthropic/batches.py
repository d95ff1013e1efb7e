"""Anthropic message batches (https://docs.anthropic.com/en/api/creating-message-batches), every request really answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, context
from keyless.http.adapter import adapter
from keyless.http.batches import Item, Job
from keyless.http.paging import page
from keyless.http.stamps import new_id, rfc3339
from keyless.http.store import Store
from keyless.neutral import BadRequest
from keyless.providers.anthropic.errors import DIALECT

MAX_REQUESTS = 100_000
_DAY = 24 * 3600


class BatchItem(bodies.Loose):
    custom_id: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    params: dict[str, Any]


class BatchRequest(bodies.Loose):
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


def batch_body(job: AnthropicBatch) -> dict[str, Any]:
    done = job.succeeded + job.errored + job.canceled
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
        "created_at": rfc3339(job.created_at),
        "expires_at": rfc3339(job.created_at + _DAY),
        "ended_at": rfc3339(job.ended_at) if job.ended_at else None,
        "cancel_initiated_at": rfc3339(job.cancelled_at) if job.cancelled_at else None,
        "archived_at": None,
        # The SDK follows this address as it is.
        "results_url": f"{job.base_url}/v1/messages/batches/{job.id}/results" if job.ended_at is not None else None,
    }


def _find(request: Request) -> AnthropicBatch:
    id = request.path_params["id"]
    job = context.batches(request).get(AnthropicBatch, id)
    if job is None:
        raise BadRequest(f"Message batch not found: {id}", status=404, kind="not_found")
    return job


@adapter(DIALECT, metered=False)
async def create(request: Request) -> Response:
    body = await bodies.read(request, BatchRequest)
    ids = [r.custom_id for r in body.requests]
    if len(set(ids)) != len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise BadRequest(f"requests: custom_id {twice!r} is used twice", param="requests")
    job = AnthropicBatch(
        new_id("msgbatch_"),
        total=len(body.requests),
        asked=body.requests,
        store=context.files(request),
        base_url=f"{str(request.base_url).rstrip('/')}/anthropic",
    )
    context.batches(request).submit(job, context.key_headers(request))
    return JSONResponse(batch_body(job))


@adapter(DIALECT, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(batch_body(_find(request)))


@adapter(DIALECT, metered=False)
async def cancel(request: Request) -> Response:
    job = _find(request)
    job.cancel()
    return JSONResponse(batch_body(job))


@adapter(DIALECT, metered=False)
async def delete(request: Request) -> Response:
    job = _find(request)
    if job.ended_at is None:
        raise BadRequest(f"Message batch {job.id} cannot be deleted while it is being processed.")
    context.batches(request).remove(job.id)
    job.store.remove(job.id)
    return JSONResponse({"id": job.id, "type": "message_batch_deleted"})


@adapter(DIALECT, metered=False)
async def results(request: Request) -> Response:
    job = _find(request)
    if job.ended_at is None:
        raise BadRequest(f"Message batch {job.id} has no results yet.", status=404, kind="not_found")
    try:
        lines = job.store.read(job.id)
    except KeyError:
        raise BadRequest(f"The results of {job.id} are gone.", status=404, kind="not_found") from None
    return Response(lines, media_type="application/x-jsonl")


@adapter(DIALECT, metered=False)
async def list_batches(request: Request) -> Response:
    rows = [batch_body(j) for j in context.batches(request).all(AnthropicBatch)]
    return JSONResponse(page(request, rows, after="after_id", usual=20, most=1000))


routes = [
    Route("/v1/messages/batches", create, methods=["POST"]),
    Route("/v1/messages/batches", list_batches, methods=["GET"]),
    Route("/v1/messages/batches/{id}", get, methods=["GET"]),
    Route("/v1/messages/batches/{id}", delete, methods=["DELETE"]),
    Route("/v1/messages/batches/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/messages/batches/{id}/results", results, methods=["GET"]),
]
