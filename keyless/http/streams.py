"""Replies that are sent piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse


def sse(chunks: AsyncIterator[str], headers: dict[str, str] | None = None) -> Response:
    return StreamingResponse(
        chunks, media_type="text/event-stream", headers={"cache-control": "no-cache", **(headers or {})}
    )
