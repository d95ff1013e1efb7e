"""Multipart forms, as files and images are sent in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from keyless.http import bodies
from keyless.neutral import BadRequest


async def form(request: Request) -> FormData:
    """The request's multipart form. Raises ``BadRequest``."""
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data") or "boundary=" not in kind.lower():
        raise BadRequest("Send this request as multipart/form-data.", param="content-type")
    body = await bodies.raw(request)

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    try:
        return await MultiPartParser(request.headers, chunks(), max_part_size=bodies.MAX_BODY_BYTES).parse()
    except (MultiPartException, UnicodeDecodeError, KeyError, ValueError) as error:
        raise BadRequest(f"We could not parse the form of your request: {error}") from None


async def files(data: FormData, *names: str) -> list[tuple[str, bytes]]:
    """File name and content of every file sent under one of ``names``. Raises ``BadRequest`` for a text in its place."""
    found = []
    for name in names:
        for value in data.getlist(name):
            if not isinstance(value, UploadFile):
                raise BadRequest(f"Invalid value for '{name}': send a file.", param=name)
            found.append((value.filename or name, await value.read()))
    return found


def fields(data: FormData, *, numbers: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> dict[str, Any]:
    """The form's texts by name, with ``numbers`` and ``flags`` read as such where they are."""
    found: dict[str, Any] = {}
    for name, value in data.multi_items():
        if isinstance(value, str):
            if name in numbers and value.isascii() and value.isdigit():
                found[name] = int(value)
            elif name in flags and value in ("true", "false"):
                found[name] = value == "true"
            else:
                found[name] = value
    return found
