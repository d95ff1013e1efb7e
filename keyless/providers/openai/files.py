"""OpenAI files (https://platform.openai.com/docs/api-reference/files)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import context, forms
from keyless.http.adapter import adapter
from keyless.http.attachments import Find
from keyless.http.paging import page
from keyless.http.stamps import new_id
from keyless.http.store import Stored
from keyless.neutral import BadRequest
from keyless.providers.openai.errors import DIALECT

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


def find(request: Request, id: str) -> Stored:
    """The file ``id`` as a client may see it. Raises ``BadRequest`` (404)."""
    stored = context.files(request).get(id)
    if stored is None or not stored.id.startswith("file-"):
        raise BadRequest(f"No such File object: {id}", status=404, kind="not_found", param="id")
    return stored


def reader(request: Request) -> Find:
    """What gives the content of the file of an id. Raises ``BadRequest`` (404) for one that is not there."""
    return lambda id: context.files(request).read(find(request, id).id)


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


@adapter(DIALECT, metered=False)
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
    return JSONResponse(file_body(context.files(request).add(new_id("file-"), content, filename=name, purpose=purpose)))


@adapter(DIALECT, metered=False)
async def list_files(request: Request) -> Response:
    purpose = request.query_params.get("purpose")
    found = [f for f in context.files(request).all() if f.id.startswith("file-") and purpose in (None, f.purpose)]
    return JSONResponse(
        {
            "object": "list",
            **page(request, [file_body(f) for f in found], after="after", usual=10_000, most=10_000),
        }
    )


@adapter(DIALECT, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(file_body(find(request, request.path_params["id"])))


@adapter(DIALECT, metered=False)
async def content(request: Request) -> Response:
    stored = find(request, request.path_params["id"])
    return Response(context.files(request).read(stored.id), media_type="application/octet-stream")


@adapter(DIALECT, metered=False)
async def delete(request: Request) -> Response:
    stored = find(request, request.path_params["id"])
    context.files(request).remove(stored.id)
    return JSONResponse({"id": stored.id, "object": "file", "deleted": True})


routes = [
    Route("/v1/files", create, methods=["POST"]),
    Route("/v1/files", list_files, methods=["GET"]),
    Route("/v1/files/{id}", get, methods=["GET"]),
    Route("/v1/files/{id}", delete, methods=["DELETE"]),
    Route("/v1/files/{id}/content", content, methods=["GET"]),
]
