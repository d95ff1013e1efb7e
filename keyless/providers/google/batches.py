"""The Gemini API's batches of generateContent and embedContent (https://ai.google.dev/api/batch-api), each request really answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, context
from keyless.http.adapter import adapter
from keyless.http.batches import Item, Job
from keyless.http.stamps import new_id, rfc3339
from keyless.http.store import Store
from keyless.neutral import BadRequest
from keyless.providers.google import files
from keyless.providers.google.codec import Camel
from keyless.providers.google.errors import DIALECT

MAX_REQUESTS = 10_000


class InlinedRequest(Camel):
    request: dict[str, Any]
    metadata: dict[str, Any] | None = None


class InlinedRequests(Camel):
    requests: list[InlinedRequest]


class InputConfig(Camel):
    requests: InlinedRequests | None = None
    file_name: str | None = None


class Batch(Camel):
    display_name: str | None = None
    input_config: InputConfig


class BatchRequest(Camel):
    batch: Batch


@dataclass
class GeminiBatch(Job):
    """A batch, from requests in its own body or from a file of lines, answered in the same way."""

    asked: Batch = field(kw_only=True)
    model: str = field(kw_only=True)
    action: str = field(kw_only=True)
    store: Store = field(kw_only=True)
    inlined: list[dict[str, Any]] | None = None
    responses_file: str | None = None

    def read(self) -> None:
        config = self.asked.input_config
        rows = (
            self._lines(config.file_name)
            if config.file_name
            else (config.requests or InlinedRequests(requests=[])).requests
        )
        if not rows or len(rows) > MAX_REQUESTS:
            self.error = self.error or f"A batch has 1 to {MAX_REQUESTS} requests."
            return
        path = f"/google/v1beta/models/{self.model}:{self.action}"
        self.items = [Item(json.dumps(r.metadata or {}), path, r.request) for r in rows]

    def _lines(self, name: str) -> list[InlinedRequest]:
        try:
            content = self.store.read(name.removeprefix("files/"))
        except KeyError:
            self.error = f"The file {name} was deleted before it was read."
            return []
        rows = []
        for number, line in enumerate(content.splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                rows.append(InlinedRequest(request=row["request"], metadata={"key": row.get("key", str(number))}))
            except (ValueError, TypeError, KeyError, RecursionError):
                self.error = f"Line {number} of {name} is no object with a key and a request."
                return []
        return rows

    def write(self) -> None:
        results = [_result(item) for item in self.items]
        if not self.asked.input_config.file_name:
            self.inlined = results
        elif results:
            text = "".join(
                json.dumps({"key": r["metadata"].get("key"), **{k: v for k, v in r.items() if k != "metadata"}}) + "\n"
                for r in results
            )
            stored = self.store.add(
                new_id(""), text.encode(), filename="results.jsonl", purpose=files.PURPOSE,
                media_type="application/jsonl",
            )  # fmt: skip
            self.responses_file = f"files/{stored.id}"

    @property
    def state(self) -> str:
        """Google's name for where the batch is."""
        if self.error:
            return "BATCH_STATE_FAILED"
        if self.cancelled_at is not None:
            return "BATCH_STATE_CANCELLED"
        if self.ended_at is not None:
            return "BATCH_STATE_SUCCEEDED"
        return "BATCH_STATE_PENDING" if self.began_at is None else "BATCH_STATE_RUNNING"


def _result(item: Item) -> dict[str, Any]:
    metadata = json.loads(item.custom_id)
    if item.status == 200:
        return {"response": item.body, "metadata": metadata}
    error = (item.body or {}).get("error") or {"code": 1, "message": "The batch was cancelled."}
    return {"error": {k: error[k] for k in ("code", "message") if k in error}, "metadata": metadata}


def batch_body(job: GeminiBatch) -> dict[str, Any]:
    """The batch as the long-running operation that Google shows it as."""
    embeds = job.action == "embedContent"
    metadata: dict[str, Any] = {
        "@type": f"type.googleapis.com/google.ai.generativelanguage.v1main.{'Embed' if embeds else 'Generate'}ContentBatch",
        "name": job.id,
        "model": f"models/{job.model}",
        "displayName": job.asked.display_name or "",
        "state": job.state,
        "createTime": rfc3339(job.created_at),
        "updateTime": rfc3339(job.ended_at or job.began_at or job.created_at),
        "batchStats": {
            "requestCount": str(job.total),
            "pendingRequestCount": str(job.total - job.succeeded - job.errored),
            "successfulRequestCount": str(job.succeeded),
            "failedRequestCount": str(job.errored),
        },
    }
    body: dict[str, Any] = {"name": job.id, "metadata": metadata}
    if job.ended_at is None:
        return body
    metadata["endTime"] = rfc3339(job.ended_at)
    body["done"] = True
    if job.error:
        return {**body, "error": {"code": 3, "message": job.error}}
    output: dict[str, Any] = {}
    if job.responses_file:
        output = {"responsesFile": job.responses_file}
    elif job.inlined is not None:
        name = "inlinedEmbedContentResponses" if embeds else "inlinedResponses"
        output = {name: {"inlinedResponses": job.inlined}}
    metadata["output"] = output
    return {**body, "response": {"@type": metadata["@type"], **output}}


async def _create(request: Request, action: str) -> Response:
    body = await bodies.read(request, BatchRequest)
    if name := body.batch.input_config.file_name:
        files.find(request, name)
    job = GeminiBatch(
        new_id("batches/"),
        asked=body.batch,
        model=request.path_params["model"],
        action=action,
        store=context.files(request),
    )
    context.batches(request).submit(job, context.key_headers(request))
    return JSONResponse(batch_body(job))


@adapter(DIALECT, metered=False)
async def generate(request: Request) -> Response:
    return await _create(request, "generateContent")


@adapter(DIALECT, metered=False)
async def embed(request: Request) -> Response:
    return await _create(request, "embedContent")


def _find(request: Request) -> GeminiBatch:
    id = f"batches/{request.path_params['id']}"
    job = context.batches(request).get(GeminiBatch, id)
    if job is None:
        raise BadRequest(f"Requested entity was not found: {id}", status=404, kind="not_found")
    return job


@adapter(DIALECT, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(batch_body(_find(request)))


@adapter(DIALECT, metered=False)
async def cancel(request: Request) -> Response:
    _find(request).cancel()
    return JSONResponse({})


@adapter(DIALECT, metered=False)
async def delete(request: Request) -> Response:
    job = _find(request)
    job.cancel()
    context.batches(request).remove(job.id)
    return JSONResponse({})


@adapter(DIALECT, metered=False)
async def list_batches(request: Request) -> Response:
    return JSONResponse({"operations": [batch_body(j) for j in context.batches(request).all(GeminiBatch)]})


routes = [
    Route("/{version}/models/{model}:batchGenerateContent", generate, methods=["POST"]),
    Route("/{version}/models/{model}:asyncBatchEmbedContent", embed, methods=["POST"]),
    Route("/{version}/batches", list_batches, methods=["GET"]),
    Route("/{version}/batches/{id}:cancel", cancel, methods=["POST"]),
    Route("/{version}/batches/{id}", get, methods=["GET"]),
    Route("/{version}/batches/{id}", delete, methods=["DELETE"]),
]
