"""The Gemini API's files, sent in pieces by Google's resumable upload protocol (https://ai.google.dev/api/files)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, context
from keyless.http.adapter import adapter
from keyless.http.attachments import Find
from keyless.http.stamps import new_id, rfc3339
from keyless.http.store import Stored
from keyless.neutral import BadRequest
from keyless.providers.google.codec import Camel
from keyless.providers.google.errors import DIALECT

PURPOSE = "gemini"
MAX_OPEN = 100
_LIFETIME = 48 * 3600


class FileMetadata(Camel):
    name: str | None = None
    display_name: str | None = None
    mime_type: str | None = None


class UploadRequest(Camel):
    file: FileMetadata = FileMetadata()


@dataclass
class Upload:
    """A file of which not all pieces are there."""

    metadata: FileMetadata
    media_type: str
    content: bytearray = field(default_factory=bytearray)


def _uploads(request: Request) -> OrderedDict[str, Upload]:
    return context.provider_state(request, "google").uploads


def find(request: Request, name: str) -> Stored:
    """The file ``files/…``. Raises ``BadRequest`` (404)."""
    stored = context.files(request).get(name.removeprefix("files/"))
    if stored is None or stored.purpose != PURPOSE:
        raise BadRequest(f"You do not have permission to access the File {name} or it may not exist.", status=404)
    return stored


def reader(request: Request) -> Find:
    """What gives the content of the file at an address. Raises ``BadRequest`` for one that was not sent here."""

    def read(uri: str) -> bytes:
        if "files/" not in uri or uri.startswith("gs://"):
            message = f"Unsupported file URI: {uri}. Send it as inlineData, or upload it to keyless first."
            raise BadRequest(message, param="fileData")
        name = uri.rpartition("files/")[2]
        return context.files(request).read(find(request, name).id)

    return read


def file_body(request: Request, stored: Stored) -> dict[str, Any]:
    moment = rfc3339(stored.created_at)
    return {
        "name": f"files/{stored.id}",
        "displayName": stored.filename,
        "mimeType": stored.media_type,
        "sizeBytes": str(stored.size),
        "createTime": moment,
        "updateTime": moment,
        "expirationTime": rfc3339(stored.created_at + _LIFETIME),
        "uri": f"{str(request.base_url).rstrip('/')}/google/v1beta/files/{stored.id}",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }


@adapter(DIALECT, metered=False)
async def start(request: Request) -> Response:
    body = await bodies.read(request, UploadRequest) if await bodies.raw(request) else UploadRequest()
    if request.headers.get("x-goog-upload-command") != "start":
        raise BadRequest("keyless knows the resumable protocol: begin with X-Goog-Upload-Command: start.")
    id = new_id("")
    media_type = request.headers.get("x-goog-upload-header-content-type") or body.file.mime_type or ""
    _uploads(request)[id] = Upload(body.file, media_type)
    while len(_uploads(request)) > MAX_OPEN:
        _uploads(request).popitem(last=False)
    address = f"{str(request.base_url).rstrip('/')}/google/upload/v1beta/files/{id}"
    return JSONResponse({}, headers={"x-goog-upload-url": address, "x-goog-upload-status": "active"})


# The address of an upload is its own key, as Google's are.
@adapter(replace(DIALECT, needs_key=False), metered=False)
async def piece(request: Request) -> Response:
    id = request.path_params["id"]
    upload = _uploads(request).get(id)
    if upload is None:
        raise BadRequest("There is no such upload, or it has ended.", status=404)
    content = await bodies.raw(request)
    if request.headers.get("x-goog-upload-offset", "0") != str(len(upload.content)):
        raise BadRequest(f"X-Goog-Upload-Offset: the next piece begins at {len(upload.content)}.")
    upload.content += content
    if len(upload.content) > bodies.MAX_BODY_BYTES:
        del _uploads(request)[id]
        raise BadRequest(f"The file is larger than {bodies.MAX_BODY_BYTES} bytes.", status=413)
    if "finalize" not in request.headers.get("x-goog-upload-command", ""):
        return JSONResponse({}, headers={"x-goog-upload-status": "active"})
    del _uploads(request)[id]
    name = upload.metadata.display_name or ""
    stored = context.files(request).add(
        id, bytes(upload.content), filename=name, purpose=PURPOSE, media_type=upload.media_type
    )
    digest = await asyncio.to_thread(hashlib.sha256, bytes(upload.content))
    body = {**file_body(request, stored), "sha256Hash": digest.hexdigest()}
    return JSONResponse({"file": body}, headers={"x-goog-upload-status": "final"})


@adapter(DIALECT, metered=False)
async def list_files(request: Request) -> Response:
    found = [f for f in context.files(request).all() if f.purpose == PURPOSE]
    return JSONResponse({"files": [file_body(request, f) for f in found]})


@adapter(DIALECT, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(file_body(request, find(request, request.path_params["id"])))


@adapter(DIALECT, metered=False)
async def download(request: Request) -> Response:
    stored = find(request, request.path_params["id"])
    return Response(context.files(request).read(stored.id), media_type=stored.media_type or "application/octet-stream")


@adapter(DIALECT, metered=False)
async def delete(request: Request) -> Response:
    context.files(request).remove(find(request, request.path_params["id"]).id)
    return JSONResponse({})


routes = [
    Route("/upload/{version}/files", start, methods=["POST"]),
    Route("/upload/{version}/files/{id}", piece, methods=["POST", "PUT"]),
    Route("/{version}/files", list_files, methods=["GET"]),
    Route("/{version}/files/{id}:download", download, methods=["GET"]),
    Route("/{version}/files/{id}", get, methods=["GET"]),
    Route("/{version}/files/{id}", delete, methods=["DELETE"]),
]
