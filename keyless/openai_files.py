"""OpenAI files (https://platform.openai.com/docs/api-reference/files)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless import forms, wire
from keyless.neutral import BadRequest
from keyless.openai_errors import OPENAI
from keyless.store import Store, Stored

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


def files(request: Request) -> Store:
    return request.app.state.files


def find(request: Request, id: str) -> Stored:
    """The file ``id`` as a client may see it. Raises ``BadRequest`` (404)."""
    stored = files(request).get(id)
    if stored is None or not stored.id.startswith("file-"):
        raise BadRequest(f"No such File object: {id}", status=404, kind="not_found", param="id")
    return stored


def file_body(stored: Stored) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "file",
        "bytes": stored.size,
        "created_at": stored.created_at,
        "filename": stored.filename,
        "purpose": stored.purpose,
        "status": "processed",
        "status_details": None,
        "expires_at": None,
    }


@wire.adapter(OPENAI, metered=False)
async def create(request: Request) -> Response:
    data = await forms.form(request)
    sent = await forms.files(data, "file")
    purpose = forms.fields(data).get("purpose")
    if len(sent) != 1:
        raise BadRequest("Missing required parameter: 'file'.", param="file")
    if purpose not in PURPOSES:
        raise BadRequest(f"Invalid value for 'purpose': one of {', '.join(PURPOSES)}.", param="purpose")
    name, content = sent[0]
    if not content:
        raise BadRequest(f"The file {name!r} is empty.", param="file")
    return JSONResponse(file_body(files(request).add(wire.new_id("file-"), content, filename=name, purpose=purpose)))


@wire.adapter(OPENAI, metered=False)
async def list_files(request: Request) -> Response:
    purpose = request.query_params.get("purpose")
    found = [f for f in files(request).all() if f.id.startswith("file-") and purpose in (None, f.purpose)]
    return JSONResponse(page(request, [file_body(f) for f in found], most=10_000))


@wire.adapter(OPENAI, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(file_body(find(request, request.path_params["id"])))


@wire.adapter(OPENAI, metered=False)
async def content(request: Request) -> Response:
    stored = find(request, request.path_params["id"])
    return Response(files(request).read(stored.id), media_type="application/octet-stream")


@wire.adapter(OPENAI, metered=False)
async def delete(request: Request) -> Response:
    stored = find(request, request.path_params["id"])
    files(request).remove(stored.id)
    return JSONResponse({"id": stored.id, "object": "file", "deleted": True})


def page(request: Request, rows: list[dict[str, Any]], *, most: int) -> dict[str, Any]:
    """The part of ``rows`` that ``limit`` and ``after`` ask for. Raises ``BadRequest``."""
    limit, after = request.query_params.get("limit", str(most)), request.query_params.get("after")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= most):
        raise BadRequest(f"Invalid 'limit': a whole number from 1 to {most}.", param="limit")
    ids = [row["id"] for row in rows]
    rest = rows[ids.index(after) + 1 :] if after in ids else rows
    shown = rest[: int(limit)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(rest) > len(shown),
    }


routes = [
    Route("/v1/files", create, methods=["POST"]),
    Route("/v1/files", list_files, methods=["GET"]),
    Route("/v1/files/{id}", get, methods=["GET"]),
    Route("/v1/files/{id}", delete, methods=["DELETE"]),
    Route("/v1/files/{id}/content", content, methods=["GET"]),
]
