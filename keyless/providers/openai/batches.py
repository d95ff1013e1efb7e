"""OpenAI batches (https://platform.openai.com/docs/api-reference/batch): every line of the file is really answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, context
from keyless.http.adapter import adapter
from keyless.http.batches import Item, Job
from keyless.http.paging import page
from keyless.http.stamps import new_id
from keyless.http.store import Store
from keyless.neutral import BadRequest
from keyless.providers.openai.errors import DIALECT
from keyless.providers.openai.files import find

MAX_LINES = 50_000
ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/moderations")
_DAY = 24 * 3600
_MAX_ERRORS = 100


class BatchRequest(bodies.Loose):
    input_file_id: str
    endpoint: str
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = None


@adapter(DIALECT, metered=False)
async def create(request: Request) -> Response:
    body = await bodies.read(request, BatchRequest)
    if body.endpoint not in ENDPOINTS:
        raise BadRequest(f"Invalid value for 'endpoint': one of {', '.join(ENDPOINTS)}.", param="endpoint")
    stored = find(request, body.input_file_id)
    if stored.purpose != "batch":
        raise BadRequest(
            f"Invalid value for 'input_file_id': the file's purpose is {stored.purpose!r}, not 'batch'.",
            param="input_file_id",
        )
    job = OpenAIBatch(new_id("batch_"), asked=body, store=context.files(request))
    context.batches(request).submit(job, context.key_headers(request))
    return JSONResponse(batch_body(job))


@dataclass
class OpenAIBatch(Job):
    """A batch from a file of lines, to a file of answers and one of errors."""

    asked: BatchRequest = field(kw_only=True)
    store: Store = field(kw_only=True)
    model: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    output_file_id: str | None = None
    error_file_id: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def read(self) -> None:
        try:
            content = self.store.read(self.asked.input_file_id)
        except KeyError:
            self.error = f"The file {self.asked.input_file_id} was deleted before it was read."
            return
        items, self.errors = _lines(content, self.asked.endpoint)
        if not self.errors:
            self.items = items
            self.model = next((m for i in items if isinstance(m := i.request.get("model"), str)), None)

    def write(self) -> None:
        self.output_file_id = self._file("output", [i for i in self.items if i.status == 200])
        self.error_file_id = self._file("error", [i for i in self.items if i.status not in (None, 200)])
        for used in ((i.body or {}).get("usage") or {} for i in self.items):
            self.prompt_tokens += used.get("prompt_tokens") or used.get("input_tokens") or 0
            self.completion_tokens += used.get("completion_tokens") or used.get("output_tokens") or 0

    def _file(self, name: str, items: list[Item]) -> str | None:
        if not items:
            return None
        text = "".join(json.dumps(_row(item)) + "\n" for item in items)
        stored = self.store.add(
            new_id("file-"), text.encode(), filename=f"{self.id}_{name}.jsonl", purpose="batch_output"
        )
        return stored.id

    @property
    def status(self) -> str:
        """OpenAI's name for where the batch is."""
        if self.errors or self.error:
            return "failed"
        if self.cancelled_at is not None:
            return "cancelling" if self.ended_at is None else "cancelled"
        if self.ended_at is not None:
            return "completed"
        return "validating" if self.began_at is None else "in_progress"


def _lines(content: bytes, endpoint: str) -> tuple[list[Item], list[dict[str, Any]]]:
    """The requests in a JSONL file, and what is wrong with it, a dictionary for each fault."""
    items: list[Item] = []
    errors: list[dict[str, Any]] = []

    def wrong(code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        if len(errors) < _MAX_ERRORS:
            errors.append({"code": code, "message": message, "line": line, "param": param})

    seen: set[str] = set()
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            wrong("invalid_json_line", "This line is not parseable as valid JSON.", number)
            continue
        if (
            not isinstance(row, dict)
            or not isinstance(row.get("custom_id"), str)
            or not isinstance(row.get("body"), dict)
        ):
            wrong("invalid_request", "A line is an object with custom_id, method, url and body.", number)
        elif row.get("method") != "POST":
            wrong("invalid_method", "The method of each line must be POST.", number, "method")
        elif row.get("url") != endpoint:
            wrong("mismatched_url", f"The url of each line must be the batch's endpoint {endpoint}.", number, "url")
        elif row["custom_id"] in seen:
            wrong("duplicate_custom_id", f"The custom_id {row['custom_id']!r} is used twice.", number, "custom_id")
        else:
            seen.add(row["custom_id"])
            # A batch has no one to stream to.
            items.append(Item(row["custom_id"], f"/openai{endpoint}", {**row["body"], "stream": False}))
    if not errors and not items:
        wrong("empty_file", "The batch file is empty.")
    if len(items) > MAX_LINES:
        wrong("too_many_requests", f"A batch has at most {MAX_LINES} requests.")
    return items, errors


def _row(item: Item) -> dict[str, Any]:
    return {
        "id": new_id("batch_req_"),
        "custom_id": item.custom_id,
        "response": {"status_code": item.status, "request_id": new_id("req_"), "body": item.body},
        "error": None,
    }


def batch_body(job: OpenAIBatch) -> dict[str, Any]:
    status = job.status
    errors = job.errors or [{"code": "server_error", "message": job.error, "line": None, "param": None}]
    ended = int(job.ended_at) if job.ended_at else None
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": job.asked.endpoint,
        "model": job.model,
        "errors": {"object": "list", "data": errors} if status == "failed" else None,
        "input_file_id": job.asked.input_file_id,
        "completion_window": job.asked.completion_window,
        "status": status,
        "output_file_id": job.output_file_id,
        "error_file_id": job.error_file_id,
        "created_at": int(job.created_at),
        "in_progress_at": int(job.began_at) if job.began_at else None,
        "expires_at": int(job.created_at) + _DAY,
        "finalizing_at": ended if status == "completed" else None,
        "completed_at": ended if status == "completed" else None,
        "failed_at": ended if status == "failed" else None,
        "expired_at": None,
        "cancelling_at": int(job.cancelled_at) if job.cancelled_at else None,
        "cancelled_at": ended if status == "cancelled" else None,
        "request_counts": {"total": job.total, "completed": job.succeeded, "failed": job.errored},
        "usage": {
            "input_tokens": job.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": job.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": job.prompt_tokens + job.completion_tokens,
        },
        "metadata": job.asked.metadata,
    }


def _find(request: Request) -> OpenAIBatch:
    id = request.path_params["id"]
    job = context.batches(request).get(OpenAIBatch, id)
    if job is None:
        raise BadRequest(f"No batch found with id '{id}'.", status=404, kind="not_found")
    return job


@adapter(DIALECT, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(batch_body(_find(request)))


@adapter(DIALECT, metered=False)
async def cancel(request: Request) -> Response:
    job = _find(request)
    if job.ended_at is not None:
        raise BadRequest(f"Cannot cancel a batch with status '{job.status}'.", status=409)
    job.cancel()
    return JSONResponse(batch_body(job))


@adapter(DIALECT, metered=False)
async def list_batches(request: Request) -> Response:
    rows = [batch_body(j) for j in context.batches(request).all(OpenAIBatch)]
    return JSONResponse({"object": "list", **page(request, rows, after="after", usual=20, most=100)})


routes = [
    Route("/v1/batches", create, methods=["POST"]),
    Route("/v1/batches", list_batches, methods=["GET"]),
    Route("/v1/batches/{id}", get, methods=["GET"]),
    Route("/v1/batches/{id}/cancel", cancel, methods=["POST"]),
]
