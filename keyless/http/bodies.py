"""The bodies of requests: read within a limit, parsed, and held against a type."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request

from keyless.http.connection import Gone
from keyless.http.context import dialect, entry
from keyless.neutral import BadRequest

MAX_BODY_BYTES = 32 * 1024 * 1024

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

Body = TypeVar("Body", bound=BaseModel)


class Loose(BaseModel):
    """A wire type, as strict about types as the providers are; fields that keyless does not use are let through."""

    model_config = ConfigDict(extra="allow", strict=True)


async def raw(request: Request) -> bytes:
    """The request's body. Raises ``BadRequest`` when it is too large or the client breaks off."""
    if "keyless.body" not in request.scope:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    message = f"The request is larger than {MAX_BODY_BYTES} bytes."
                    raise BadRequest(message, status=413)
        except ClientDisconnect:
            raise Gone from None
        request.scope["keyless.body"] = bytes(body)
    return request.scope["keyless.body"]


async def read(request: Request, model: type[Body]) -> Body:
    """The request's JSON as ``model``. Raises ``BadRequest`` that names the field at fault."""
    _require_json(request)
    body = validated(parsed(await raw(request)), model)
    note = entry(request)
    note.model = getattr(body, "model", None) or note.model
    note.stream = bool(getattr(body, "stream", False))
    return body


def _require_json(request: Request) -> None:
    """Raises ``BadRequest`` for a body that is not declared as JSON, where the provider insists on that.

    A page in a browser can send such a body to any address without asking first; it cannot send one declared as JSON.
    """
    said = request.headers.get("content-type", "")
    kind = said.partition(";")[0].strip().lower()
    if dialect(request).json_only and kind != "application/json" and not kind.endswith("+json"):
        raise BadRequest(
            f"Unsupported content type: {said!r}. Send the JSON body with the header Content-Type: application/json.",
            status=dialect(request).unsupported_type,
            kind="unsupported_content_type",
        )


def parsed(body: bytes) -> dict[str, Any]:
    """``body`` as a JSON object. Raises ``BadRequest``."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("The JSON body of your request must be an object.")
    return _whole_characters(value) if _SURROGATE.search(body) else value


def _whole_characters(value: dict[str, Any]) -> dict[str, Any]:
    """``value`` with U+FFFD for each half of a pair that JSON's escapes can write and no encoding can."""
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def validated(value: dict[str, Any], model: type[Body]) -> Body:
    """``value`` as ``model``. Raises ``BadRequest`` that names the field at fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(p) for p in first["loc"])
        message = (
            f"Missing required parameter: '{where}'."
            if first["type"] == "missing"
            else f"Invalid value for '{where}': {first['msg']}."
        )
        raise BadRequest(message, param=where or None) from None
    except RecursionError:
        raise BadRequest("The JSON body of your request is nested too deeply.") from None


def from_base64(text: str, param: str = "image") -> bytes:
    """The bytes that base64 ``text`` stands for, a ``data:`` URL too. Raises ``BadRequest``."""
    if text.startswith(("http://", "https://", "gs://", "s3://")):
        raise BadRequest(
            "keyless opens no addresses: send the image or file itself, as base64 or as a data: URL.",
            kind="invalid_image_url",
            param=param,
        )
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("The image or file is no valid base64.", kind="invalid_base64", param=param) from None
